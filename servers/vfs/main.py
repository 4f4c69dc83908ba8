"""The tree of file systems: gives out directories by path, and is not asked again until somebody needs another one.

Must be given: connections to file systems. Settings: ``mounts = { "/" = "disk", "/tmp" = "ram" }``, paths and the names
of connections; ``clients`` as every file system has it (`libsel4py.filesystem.service`): who has which part of it. With
``threads``, one more than there are such mounts, what does not answer holds up nobody else. With ``state`` of 64 KiB,
and ``state_slots`` for 32 mounts of clients, those and narrowed namespaces survive this server's death.

Rules. What a client gets is narrowed to its part of the tree and its rights by the file system itself. A directory that
a client has mounted may be anybody's: it is asked with a time limit; what does not answer is unmounted. What was given
out is kept, and asked whether it still works, since a file system that was started again knows nothing of it. This is
done by other threads (`asking`), where it may take time; tree and table are changed by the server's own thread alone,
and a mount's ``given`` by whoever asks it.
"""

from __future__ import annotations

import builtins
from typing import Final

from libsel4py import DEFER, ReplyToken, component
from libsel4py.badges import Badges
from libsel4py.capabilities import Endpoint
from libsel4py.errors import KernelError, NotEnoughMemory, RemoteError, ServerDied, Timeout, TooManyDeferred
from libsel4py.filesystem.grants import grants_of_description
from libsel4py.filesystem.paths import is_within, relative
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
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.signature import Word
from libsel4py.state import StateSlots, ensure_state
from servers.vfs.asking import MOST_WAITING, Asking, Waiting
from servers.vfs.tree import KeptMount, KeptView, Mounted, Table, Tree, View, places

MOST_VIEWS: Final = 256  # that were narrowed, of one client
MOST_GIVEN: Final = 64  # directories of one mount that are kept
ANSWER_SECONDS: Final = 5.0  # of what a client has mounted
QUICK_SECONDS: Final = 0.02  # of the description's, before others ask it
MOST_TRIES: Final = 16  # of one request, each of which a file system has died with
LEAST_STATE_BYTES: Final = 64 << 10
Part = tuple[str, Access]
_LOST: Final = (KernelError, RemoteError, ServerDied, Timeout)


@component
class Main(Namespace):
    """The namespace."""

    def __init__(self) -> None:
        super().__init__()
        ensure_state(self.task, LEAST_STATE_BYTES)
        self._slots = StateSlots(self.task)
        self._kept = self.kept(Table)

    def start(self) -> None:
        settings = self.task.environment.configuration
        self._tree = Tree()
        self._badges = Badges(self.server.endpoint, self.task)
        self._waiting = Waiting()
        self._unmounted: builtins.list[Mounted] = []
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
        self._asking = Asking(len(self._tree))
        self._restore()
        self.server.allow_deferred(2 * MOST_WAITING * max(4, len(self.server.connections)))

    def resolve(self, path: str) -> tuple[str, Endpoint]:
        self._tidy()
        view = self._view()
        full = view.full(path)
        if not view.rights:
            raise NotPermitted(f"the namespace's description gives {view.owner} nothing")
        mounted = self._tree.find(full)
        part, rest = places(view, mounted, full)
        base = self._base(view, mounted, full)
        found = self._quick(mounted, part, view.rights)
        if found is not None:
            return rest, found
        token = self._owe(view.owner, mounted)

        def answer() -> None:
            try:
                directory = self._directory(mounted, part, view.rights, base)
            except Exception as error:
                self._waiting.leave(view.owner, mounted)
                token.fail(error)
            else:
                self._waiting.leave(view.owner, mounted)
                token.complete((rest, directory))

        self._asking.submit(mounted, answer)
        return DEFER

    def mounts(self) -> builtins.list[MountPoint]:
        self._tidy()
        view = self._view()
        if not view.rights:
            return []  # its names are nobody's who has nothing of it
        writable = bool(view.rights & Access.WRITE)
        return [MountPoint(path, writable) for path, _ in self._tree.seen(view)]

    def mount(self, path: str, directory: Endpoint) -> None:
        self._tidy()
        try:
            view = self._view()
            full = view.full(path)
            _ensure_writable(view)
            self._tree.ensure_free(full, view.owner)
            self._table.ensure_room(full, view.owner)
            slot = self._slots.put(directory)
        except BaseException as error:
            self.task.delete(directory)
            if isinstance(error, OutOfSlots):
                raise TooManyOpen(f"nothing more can be mounted, there is no room: {error}") from error
            raise
        self._table.mounts[full] = KeptMount(slot, view.owner)
        self._kept.commit()
        self._tree.add(Mounted(full, Directory(Endpoint(slot)), view.owner))

    def unmount(self, path: str) -> None:
        self._tidy()
        view = self._view()
        full = view.full(path)
        _ensure_writable(view)
        self._unmounts(self._tree.remove(full, view.owner))

    def narrow(self, path: str, rights: Word) -> Endpoint:
        view = self._view()
        wanted = View(view.full(path), view.rights & Access(int(rights) & int(Access.ALL)), view.owner)
        for badge, known in self._views.items():
            if known == wanted:
                return self._badges.directory(badge)
        if sum(known.owner == view.owner for known in self._views.values()) >= MOST_VIEWS:
            raise TooManyOpen(f"{view.owner} has narrowed its namespace {MOST_VIEWS} times; no more are kept")
        self._table.ensure_room(wanted.root, wanted.owner)
        badge = self._badges.new()
        self._views[badge] = wanted
        self._table.views[badge] = KeptView(wanted.root, int(wanted.rights), wanted.owner)
        self._kept.commit()
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
        return self._described_view(caller.name)

    def _described_view(self, client: str) -> View:
        """What a client of the description has."""
        if client in self._described:
            root, rights = self._described[client]
            return View(root, Access(rights), client)
        return View("", Access.NONE if self._listed else Access.ALL, client)

    def _base(self, view: View, mounted: Mounted, full: str) -> Part:
        """What its client has of a mount of the description: what it narrows, it narrows by that."""
        own = self._described_view(view.owner)
        if mounted.made_by or view.rights & ~own.rights or not is_within(view.root, own.root):
            own = view
        return places(own, mounted, full)[0], own.rights

    # --- the table

    @property
    def _table(self) -> Table:
        return self._kept.value

    def _restore(self) -> None:
        """Go on with what the former life had."""
        table = self._table
        self._views = {badge: View(each.root, Access(each.rights), each.owner) for badge, each in table.views.items()}
        there = self._slots.begin(each.slot for each in table.mounts.values())
        for path, each in sorted(table.mounts.items()):
            try:
                self._tree.ensure_free(path)
            except FileError as error:
                self.log.warning("%s had mounted something at /%s, which is over: %s", each.owner, path, error)
                there.discard(each.slot)
            if each.slot in there:
                self._tree.add(Mounted(path, Directory(Endpoint(each.slot)), each.owner))
            else:
                del table.mounts[path]
        self._kept.commit()

    def _unmounts(self, mounted: Mounted) -> None:
        """It is in the tree no more. Its slots are emptied when the table names them no more, and nobody asks it."""
        del self._table.mounts[mounted.path]
        self._kept.commit()
        self._unmounted.append(mounted)

    def _tidy(self) -> None:
        """Between two requests: unmount what has failed, and let go of what was unmounted."""
        for mounted in self._tree.failed():
            self._unmounts(self._tree.remove(mounted.path, mounted.made_by))
        for mounted in [each for each in self._unmounted if not self._asking.is_asked(each)]:
            self._unmounted.remove(mounted)
            self._forget(mounted)
            self._slots.drop(endpoint_of(mounted.directory).cptr)

    # --- asking file systems

    def _owe(self, owner: str, mounted: Mounted) -> ReplyToken:
        """The caller's reply, which others will send. Raises TooManyOpen."""
        self._waiting.enter(owner, mounted)
        try:
            return self.defer_reply()
        except (TooManyDeferred, NotEnoughMemory, OutOfSlots) as error:
            self._waiting.leave(owner, mounted)
            raise TooManyOpen(f"nobody more can wait for a file system now: {error}") from error

    def _quick(self, mounted: Mounted, part: str, rights: Access) -> Endpoint | None:
        """What was handed out before, if it is the description's and says at once that it works."""
        slot = mounted.given.get((part, rights))
        if slot is None or mounted.made_by or self._asking.is_asked(mounted):
            return None
        return Endpoint(slot) if _works(slot, QUICK_SECONDS) else None

    def _directory(self, mounted: Mounted, part: str, rights: Access, base: Part) -> Endpoint:
        """What to hand out: the mounted directory, or a part of it, with these rights.

        It is narrowed by way of ``base``, so that the file system counts what one client has together, and gives others
        theirs beside. Raises FileError.
        """
        if mounted.has_failed:
            raise DeviceFailed(f"the file system at /{mounted.path} did not answer others, and is unmounted")
        seconds = ANSWER_SECONDS if mounted.made_by else None
        slot = mounted.given.get((part, rights))
        if slot is not None:
            if _works(slot, seconds):
                return Endpoint(slot)
            del mounted.given[part, rights]
            self.task.delete(Endpoint(slot))
        if len(mounted.given) >= MOST_GIVEN - 1:  # with the base
            self._forget(mounted)
        source, below = mounted.directory, part
        if (part, rights) != base:
            source, below = Directory(self._directory(mounted, *base, base)), relative(part, base[0])
        try:
            made = _narrow(source, below, rights, seconds)
        except _LOST as error:
            mounted.has_failed = True
            raise DeviceFailed(f"the file system at /{mounted.path} does not answer: {error}") from error
        mounted.given[part, rights] = made.cptr
        return made

    def _forget(self, mounted: Mounted) -> None:
        for slot in mounted.given.values():
            self.task.delete(Endpoint(slot))
        mounted.given.clear()


def _works(slot: int, seconds: float | None) -> bool:
    """Whether a directory that was handed out is still one."""
    try:
        with_timeout(Directory(Endpoint(slot)), seconds).stat("")
    except StaleHandle:
        return False
    except FileError:
        return True  # it answers; what it says is its client's matter
    except _LOST:
        return False
    return True


def _narrow(directory: Directory, part: str, rights: Access, seconds: float | None) -> Endpoint:
    """Raises FileError, and what says that it does not answer. Without a time limit it may die of it some times."""
    for left in reversed(range(MOST_TRIES if seconds is None else 1)):
        try:
            return with_timeout(directory, seconds).narrow(part, Word(int(rights)))
        except ServerDied:
            if not left:
                raise
    raise AssertionError("the last try has raised")


def _ensure_writable(view: View) -> None:
    if not view.rights & Access.WRITE:
        raise NotPermitted("this part of the namespace is read-only")
