"""What a file system is to the service layer: names and bytes, without clients, sessions, rights or locks.

Paths are checked before they come here: names of at most 255 bytes, separated by "/", without "." and "..", the root
is "". Errors are the `FileError`s of `libsel4py.interfaces.file`; anything else is a bug of the volume.

The service layer is one thread, and opens one file once, however many clients have it open: a volume never sees two
open files of one name, but for those that were removed (or replaced) while they were open and have no name any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from libsel4py.interfaces.file import Entry, Origin, Space, Stat

if TYPE_CHECKING:
    from typing_extensions import Buffer


class OpenFile(Protocol):
    """An open file, for reading and writing.

    It goes on under the new name when it, or a directory above it, is renamed. When it is removed or replaced it goes
    on without a name until it is closed; a volume that cannot do that raises StaleHandle from each method but `close`.
    """

    def read(self, offset: int, length: int, /) -> Buffer:
        """Up to ``length`` bytes; fewer only at the end. What is returned is used before the next call, and not kept.

        Raises DeviceFailed, StaleHandle.
        """

    def write(self, offset: int, data: bytes, /) -> None:
        """All of it (a byte at least), or raise; a gap before ``offset`` reads as zeroes. ``data`` may be kept.

        Raises:
            NoSpace: it does not fit; then the file has the size and bytes of before, or those that fitted.
            Unfinished: the gap is long, and a part of it is there.
            DeviceFailed, StaleHandle.
        """

    def size(self) -> int:
        """Bytes, with what was written and not yet synced."""

    def truncate(self, size: int, /) -> None:
        """Cut it, or lengthen it by zeroes. Raises NoSpace, DeviceFailed, StaleHandle; Unfinished, as `write`."""

    def sync(self) -> None:
        """Put what was written on the medium. Raises NoSpace, DeviceFailed, StaleHandle."""

    def close(self) -> None:
        """Nobody uses it any more. What was written is kept as `sync` would. Raises NoSpace, DeviceFailed.

        StaleHandle: the medium has failed, and what was written since the last `sync` is lost.
        """


class Volume(Protocol):
    """Names and bytes.

    Attributes:
        read_only: nothing is ever written; the service layer refuses it before it comes here.
        origin: which files these are, and whether they survive the server.
    """

    @property
    def read_only(self) -> bool: ...
    @property
    def origin(self) -> Origin: ...

    def identity(self, path: str, /) -> int:
        """A number (below 2**64) of what has this name: `Directory.open_number`. Raises NoSuchFile, DeviceFailed."""

    def stat(self, path: str, /) -> Stat:
        """Raises NoSuchFile (also where something on the way is a file, or missing), DeviceFailed.

        The service layer asks an open file for its size itself.
        """

    def list(self, path: str, /) -> Iterable[Entry]:
        """In any order. Raises NoSuchFile, NotDirectory, DeviceFailed."""

    def open(self, path: str, /, *, create: bool, exclusive: bool) -> OpenFile:
        """Open a file that is not open yet.

        Args:
            create: make it, empty, if there is none. exclusive: only that; what is there is FileExists.
        Raises:
            NoSuchFile: there is none, or no directory to make it in. IsDirectory, FileExists, NotDirectory, NoSpace,
            DeviceFailed.
        """

    def make_directory(self, path: str, /) -> None:
        """Raises FileExists, NoSuchFile (nothing above it), NotDirectory, NoSpace, DeviceFailed."""

    def remove(self, path: str, /) -> None:
        """A file or an empty directory; never the root. Raises NoSuchFile, DirectoryNotEmpty, DeviceFailed."""

    def rename(self, old: str, new: str, /) -> None:
        """In one step, replacing a file by a file, or an empty directory by a directory.

        The two differ, neither is the root, and ``new`` is not below ``old``.

        Raises:
            NoSuchFile, IsDirectory (a directory would be replaced by a file), NotDirectory (the other way round),
            DirectoryNotEmpty, NoSpace, DeviceFailed.
        """

    def space(self) -> Space:
        """Size, free blocks, longest name."""

    def sync(self) -> None:
        """Put all that was written on the medium, of open files as well.

        Raises DeviceFailed. NoSpace: what was written to some file does not fit; all else is on the medium.
        """
