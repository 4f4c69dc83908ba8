"""The tree of file systems: gives out directories by path, and is not asked again until somebody needs another one.

Must be given: connections to file systems. Settings: ``mounts = { "/" = "disk", "/tmp" = "ram" }``, paths and the names
of connections; ``clients`` as every file system has it (`libsel4py.filesystem.service`): who has which part of it.

Rules. What a client gets is narrowed to its part of the tree and its rights by the file system itself. A directory that
a client has mounted may be anybody's: it is asked with a time limit; what does not answer is unmounted. What was
given out is kept, and asked whether it still works, since a file system that was started again knows nothing of it.
"""

from __future__ import annotations

import builtins
from typing import Final

from libsel4py import component
from libsel4py.badges import Badges
from libsel4py.capabilities import Endpoint
from libsel4py.errors import KernelError, RemoteError, ServerDied, Timeout
from libsel4py.filesystem.grants import grants_of_description
from libsel4py.filesystem.paths import relative
from libsel4py.interface import endpoint_of, with_timeout
from libsel4py.interfaces.file import (
    Access,
    DeviceFailed,
    Directory,
    FileError,
    FileExists,
    NotPermitted,
    StaleHandle,
    TooManyOpen,
)
from libsel4py.interfaces.namespace import MountPoint, Namespace
from libsel4py.signature import Word
from servers.vfs.tree import Mounted, Tree, View, places

MOST_VIEWS: Final = 256  # that were narrowed, of one client
MOST_GIVEN: Final = 64  # directories of one mount that are kept
ANSWER_SECONDS: Final = 5.0
_LOST: Final = (KernelError, RemoteError, ServerDied, Timeout)


@component
class Main(Namespace):
    """The namespace."""

    def start(self) -> None:
        settings = self.task.environment.configuration
        self._tree = Tree()
        self._badges = Badges(self.server.endpoint, self.task)
        self._views: dict[int, View] = {}
        self._described = grants_of_description(settings, read_only=False)
        self._listed = "clients" in settings
        mounts = settings.get("mounts")
        if not isinstance(mounts, dict) or not mounts:
            raise ValueError('mounts says what is where: mounts = { "/" = "disk" }, with names of connections')
        for path, name in mounts.items():
            directory = getattr(self.uses, str(name))
            if not isinstance(directory, Directory):
                raise ValueError(f"mounts: {name} at {path} is no file system")
            self._tree.add(Mounted(path.strip("/"), directory))
        for root, _ in self._described.values():
            self._make_root(root)

    def resolve(self, path: str) -> tuple[str, Endpoint]:
        view = self._view()
        full = view.full(path)
        if not view.rights:
            raise NotPermitted(f"the namespace's description gives {view.owner} nothing")
        mounted = self._tree.find(full)
        part, rest = places(view, mounted, full)
        return rest, self._directory(mounted, part, view.rights)

    def mounts(self) -> builtins.list[MountPoint]:
        view = self._view()
        writable = bool(view.rights & Access.WRITE)
        return [MountPoint(path, writable) for path, _ in self._tree.seen(view)]

    def mount(self, path: str, directory: Endpoint) -> None:
        try:
            view = self._view()
            full = view.full(path)
            _ensure_writable(view)
            self._tree.add(Mounted(full, with_timeout(Directory(directory), ANSWER_SECONDS), view.owner))
        except BaseException:
            self.task.delete(directory)
            raise

    def unmount(self, path: str) -> None:
        view = self._view()
        full = view.full(path)
        _ensure_writable(view)
        self._drop(self._tree.remove(full, view.owner))

    def narrow(self, path: str, rights: Word) -> Endpoint:
        view = self._view()
        wanted = View(view.full(path), view.rights & Access(int(rights) & int(Access.ALL)), view.owner)
        for badge, known in self._views.items():
            if known == wanted:
                return self._badges.directory(badge)
        if sum(known.owner == view.owner for known in self._views.values()) >= MOST_VIEWS:
            raise TooManyOpen(f"{view.owner} has narrowed its namespace {MOST_VIEWS} times; no more are kept")
        badge = self._badges.new()
        self._views[badge] = wanted
        return self._badges.directory(badge)

    # --- inside --------------------------------------------------------------------------------------------

    def _make_root(self, root: str) -> None:
        """A client's part of the tree is there before the client."""
        mounted = self._tree.find(root)
        names = relative(root, mounted.path).split("/") if root != mounted.path else []
        for count in range(1, len(names) + 1):
            try:
                mounted.directory.make_directory("/".join(names[:count]))
            except FileExists:
                continue

    def _view(self) -> View:
        """The caller's part of the tree. Raises StaleHandle, FileError."""
        caller = self.caller
        found = self._views.get(caller.badge)
        if found is not None:
            return found
        if caller.badge not in self.server.connections:
            raise StaleHandle("this namespace was given out by a server that has ended: ask for it again")
        if caller.name in self._described:
            root, rights = self._described[caller.name]
            return View(root, Access(rights), caller.name)
        if self._listed:
            return View("", Access.NONE, caller.name)
        return View("", Access.ALL, caller.name)

    def _directory(self, mounted: Mounted, part: str, rights: Access) -> Endpoint:
        """What to hand out: the mounted directory, or a part of it, with these rights."""
        slot = mounted.given.get((part, rights))
        if slot is not None:
            if self._works(slot):
                return Endpoint(slot)
            del mounted.given[part, rights]
            self.task.delete(Endpoint(slot))
        if len(mounted.given) >= MOST_GIVEN:
            self._forget(mounted)
        try:
            made = mounted.directory.narrow(part, Word(int(rights)))
        except _LOST as error:
            if mounted.made_by:
                self._drop(self._tree.remove(mounted.path, mounted.made_by))
            raise DeviceFailed(f"the file system at /{mounted.path} does not answer: {error}") from error
        mounted.given[part, rights] = made.cptr
        return made

    def _works(self, slot: int) -> bool:
        try:
            with_timeout(Directory(Endpoint(slot)), ANSWER_SECONDS).stat("")
        except StaleHandle:
            return False
        except FileError:
            return True  # it answers; what it says is its client's matter
        except _LOST:
            return False
        return True

    def _forget(self, mounted: Mounted) -> None:
        for slot in mounted.given.values():
            self.task.delete(Endpoint(slot))
        mounted.given.clear()

    def _drop(self, mounted: Mounted) -> None:
        self._forget(mounted)
        self.task.delete(endpoint_of(mounted.directory))


def _ensure_writable(view: View) -> None:
    if not view.rights & Access.WRITE:
        raise NotPermitted("this part of the namespace is read-only")
