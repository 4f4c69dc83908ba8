# mypy: disable-error-code="empty-body"
"""One tree of several file systems: which of them has a path.

A client asks once where a path is, gets a capability to the directory that is mounted there, and speaks to that file
system itself from then on. The idea is QNX's path manager; here what it gives out is a capability, with the rights that
the client's own part of the namespace has.
"""

from __future__ import annotations

import builtins

import msgspec

from libsel4py.capabilities import Endpoint
from libsel4py.interface import Interface, idempotent, long_result, remembered
from libsel4py.signature import Word


class MountPoint(msgspec.Struct, frozen=True, array_like=True):
    """A file system in the tree: where, and whether it can be written through this namespace."""

    path: str
    writable: bool


class Namespace(Interface):
    """A tree, as its client sees it: paths begin at "/". Errors are those of `libsel4py.interfaces.file`."""

    @idempotent
    def resolve(self, path: str) -> tuple[str, Endpoint]:
        """The rest of a path, and the directory (`Directory`) that it is relative to: that of the longest mount.

        Raises:
            BadPath: it is none. NoSuchFile: nothing is mounted above it.
        """

    @idempotent
    @long_result
    def mounts(self) -> builtins.list[MountPoint]:
        """What is mounted, in the order of paths."""

    def mount(self, path: str, directory: Endpoint) -> None:
        """Let a directory stand at a path, over what the file systems have there.

        Raises:
            NotPermitted: the client's part of the namespace is read-only. FileExists: something is mounted there.
            TooManyOpen: there are too many mounts. ServerDied: it may have been carried out, which `mounts` tells.
        """

    @remembered
    def unmount(self, path: str) -> None:
        """End a mount that was made by `mount`; who uses its files goes on. Raises NoSuchFile: there is none."""

    @idempotent
    def narrow(self, path: str, rights: Word) -> Endpoint:
        """A namespace to hand on: the tree below a path, with these rights (`Access`) at most. Raises as `resolve`."""
