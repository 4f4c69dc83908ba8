"""The server of a volume: a component that implements `Directory` and `File` over a `Volume`.

    @component
    class Main(FileSystemServer):
        def start(self) -> None:
            self.serve_volume(MyVolume(…))

Settings: ``clients = { shell = "rw /", httpd = "r /www" }`` says who has which subtree (made if it is missing);
without it every client has all. ``"shell/files"`` is what it has by the connection to what is provided as ``files``.
``sessions`` is how many there may be at once (256), of one client half of them. ``pager`` names the client that may
show files to others as memory (`servers.pager`): files that are handed to it stay open until it closes them.

Rules. Who calls is known by badge alone, and what it may do by the badge's grant: no request names authority. Nothing
is done before path and rights are checked. All runs in one thread. What a client makes the server keep is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from libsel4py.abi import VMFault
from libsel4py.badges import Badges
from libsel4py.capabilities import Endpoint, Notification, Untyped, Unwrapped
from libsel4py.context import Caller, per_thread
from libsel4py.dataspace import SharedMemory
from libsel4py.errors import InvalidMessage, KernelError
from libsel4py.filesystem.file_service import FileService
from libsel4py.filesystem.grants import MOST_NARROWED, Grant, Grants, grants_of_description
from libsel4py.filesystem.handles import Handle
from libsel4py.filesystem.nodes import Nodes
from libsel4py.filesystem.opening import opening
from libsel4py.filesystem.paths import checked, is_within, join
from libsel4py.filesystem.session_table import SessionTable
from libsel4py.filesystem.sessions import FileSession
from libsel4py.filesystem.volume import Volume
from libsel4py.filesystem.watches import Watches
from libsel4py.interfaces.file import (
    Access,
    Adopted,
    BadPath,
    Change,
    ChangeKind,
    DeviceFailed,
    Directory,
    Entry,
    File,
    FileExists,
    Kind,
    NoSuchFile,
    NotDirectory,
    NotPermitted,
    Origin,
    Space,
    StaleHandle,
    Stat,
    TooManyOpen,
)
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.machine import Words
from libsel4py.lowlevel.vspace import OutOfAddresses
from libsel4py.results import MAX_LONG_RESULT, encode
from libsel4py.wire import put_failure

MOST_SESSIONS: Final = 256
MOST_SURELY_SHORT: Final = 2_000  # entries
READ: Final = int(Access.READ)
WRITE: Final = int(Access.WRITE)
Entries = list[Entry]
Changes = list[Change]


class FileSystemServer(Directory):
    """Serves one volume."""

    def serve_volume(self, volume: Volume) -> None:
        """Begin; to be called in ``start()``.

        Raises:
            ValueError: a setting is wrong. FileError: a client's subtree cannot be made.
        """
        settings = self.task.environment.configuration
        most = int(settings.get("sessions", MOST_SESSIONS))  # type: ignore[arg-type]  # a wrong type is a TypeError
        self._volume = volume
        self._nodes = Nodes()
        self._find_node = self._nodes.find
        self._watches = Watches()
        self._grants = Grants()
        self._by_badge = self._grants.by_badge
        self._badges = Badges(self.server.endpoint, self.task)
        self._listed = "clients" in settings
        self._pager = str(settings.get("pager", ""))
        self._described = grants_of_description(settings, volume.read_only)
        if not volume.read_only:
            for root, _ in self._described.values():
                self._make_root(root)
        self._files = FileService(self.server)
        self.server.provide(self._files, File)
        self._sessions = SessionTable(
            self.server, self._badges, self._grants, self._nodes, self._watches, self._files.forget, most
        )
        self._session_by_badge = self._sessions.by_badge

    def _make_root(self, root: str) -> None:
        for end in [index for index, letter in enumerate(root) if letter == "/"] + [len(root)] * bool(root):
            try:
                self._volume.make_directory(root[:end])
            except FileExists:
                continue

    # --- who calls

    def _grant(self, wanted: int = 0) -> Grant:
        """The caller's grant, if it is alive and has these rights. Raises StaleHandle, NotPermitted."""
        caller = self.caller
        grant = self._by_badge.get(caller.badge)
        if grant is None:
            grant = self._connected(caller)
        if grant.session is not None:
            grant.session.ensure_alive()
        grant.ensure(wanted)
        return grant

    def _connected(self, caller: Caller) -> Grant:
        """The grant of a connection of the description, made at its first request."""
        most = Access.READ if self._volume.read_only else Access.ALL
        listed = self._described.get(f"{caller.name}/{caller.provided}") or self._described.get(caller.name)
        root, rights = listed or ("", 0 if self._listed else int(most))
        grant = Grant(root, rights, caller.name, pinned=True)
        self._grants.add(caller.badge, grant)
        return grant

    def _in_session(self, wanted: int = 0) -> tuple[Grant, FileSession]:
        grant = self._grant(wanted)
        if grant.session is None or not grant.is_session:
            raise NotPermitted("this needs a session: session(pool) gives a capability that has one")
        return grant, grant.session

    def _path(self, path: str, wanted: int) -> str:
        """A path as the volume calls it. Raises BadPath, StaleHandle, NotPermitted."""
        return join(self._grant(wanted).root, checked(path))

    def _own_path(self, grant: Grant, path: str) -> str:
        """The same of a name that is to be made, removed or changed: never the root itself."""
        if not checked(path):
            raise NotPermitted("this is the root of the capability: it stays")
        return join(grant.root, path)

    def on_stranger(self, badge: int, label: int, words: tuple[int, ...]) -> Words | None:
        """A capability of what there is no more."""
        return put_failure(StaleHandle("what this capability stood for was closed, or its session is over"), ())

    # --- sessions

    def session(self, pool: Untyped) -> Endpoint:
        return self._badges.directory(self._sessions.open(self._grant(), pool))

    def attach(self, memory: SharedMemory) -> None:
        _, session = self._in_session()
        self._sessions.ensure_slots(session.origin)
        try:
            session.attach(memory)
        except (KernelError, OutOfSlots, OutOfAddresses) as error:
            raise TooManyOpen(f"there is no room for the buffer: {error}") from error

    def close(self) -> None:
        _, session = self._in_session()
        session.close()

    # --- names

    def stat(self, path: str) -> Stat:
        grant = self._by_badge.get(per_thread.serving.caller.badge)  # type: ignore[union-attr]  # a method runs
        full = None if grant is None else grant.known.get(path)
        if grant is None or full is None:
            grant = self._grant(READ)
            full = join(grant.root, checked(path))
            grant.remember(path, full)
        elif grant.session is not None:
            try:
                grant.session.look(0)
            except VMFault:
                grant.session.ensure_alive()
        found = self._volume.stat(full)
        node = self._find_node(full)
        if node is None:
            return found
        try:
            size = node.file.size()
        except StaleHandle:
            self._nodes.size(full)  # which sees it as well, and takes its name
            return found
        return found if size == found.size else Stat(found.kind, size, found.modified_ns)

    def list(self, path: str) -> Entries:
        full = self._path(path, READ)
        entries = sorted(self._volume.list(full), key=lambda entry: entry.name)
        if len(entries) > MOST_SURELY_SHORT and len(encode(entries)) > MAX_LONG_RESULT:
            raise TooManyOpen(f"the {len(entries)} names in {path!r} take more than {MAX_LONG_RESULT} bytes to say")
        if not len(self._nodes):
            return entries
        below = f"{full}/" if full else ""
        return [self._as_it_is(below, entry) for entry in entries]

    def _as_it_is(self, below: str, entry: Entry) -> Entry:
        size = self._nodes.size(below + entry.name)
        return entry if size is None else Entry(entry.name, entry.kind, size)

    def make_directory(self, path: str) -> None:
        grant = self._grant(WRITE)
        if not checked(path):
            raise FileExists("the root is there already")
        full = self._own_path(grant, path)
        self._volume.make_directory(full)
        self._watches.tell(ChangeKind.CREATED, full)

    def remove(self, path: str) -> None:
        full = self._own_path(self._grant(WRITE), path)
        with self._knowing(full):
            self._volume.remove(full)
        self._nodes.removed(full)
        self._grants.removed(full)
        self._watches.tell(ChangeKind.REMOVED, full)

    def rename(self, old: str, new: str) -> None:
        grant = self._grant(WRITE)
        full, target = self._own_path(grant, old), self._own_path(grant, new)
        if full == target:
            self._volume.stat(full)
            return
        is_directory = self._volume.stat(full).kind is Kind.DIRECTORY
        if is_within(target, full):
            if not is_directory:
                raise NotDirectory(f"{old!r} is a file, and nothing is in it")
            raise BadPath(f"{new!r} is within {old!r}, which cannot be moved into itself")
        with self._knowing(full, target):
            self._volume.rename(full, target)
        self._nodes.renamed(full, target, is_directory)
        if is_directory and self._grants.renamed(full, target):
            self._watches.moved()
        self._watches.tell(ChangeKind.REMOVED, full)
        self._watches.tell(ChangeKind.CREATED, target)

    @contextmanager
    def _knowing(self, *paths: str) -> Iterator[None]:
        """A change of names. If the medium fails with it, it may have been made, and others may take the names: so what
        was given out of what had them ends, rather than to stand for something else.
        """
        try:
            yield
        except DeviceFailed:
            for path in paths:
                self._nodes.lost(path)
                self._grants.lost(path)
            raise

    def narrow(self, path: str, rights: int) -> Endpoint:
        grant = self._grant()
        if not 0 < rights <= READ | WRITE:
            raise InvalidMessage(f"rights {rights:#x} are not Access.READ, Access.WRITE or both")
        if not grant.rights & rights:  # and who has no right is not told what is there
            grant.ensure(rights)
        full = join(grant.root, checked(path))
        if self._volume.stat(full).kind is not Kind.DIRECTORY:
            raise NotDirectory(f"{path!r} is a file, and a capability to a directory was asked for")
        tenant = grant.tenant_below
        wanted = Grant(full, grant.rights & rights, grant.owner, session=grant.session, tenant=tenant)
        made = self._grants.same(wanted)
        if made is None:
            made = self._narrowed(wanted)
        return self._badges.directory(made.badge)

    def _narrowed(self, wanted: Grant) -> Grant:
        if wanted.session is not None:
            wanted.session.ensure_room()
        elif not self._grants.has_room(wanted):
            for gone in self._grants.take_gone(wanted.owner):
                self.server.remove_client(gone.badge)
        if wanted.session is None and not self._grants.has_room(wanted):
            raise TooManyOpen(
                f"{MOST_NARROWED} were narrowed by this capability, or as many as may be by all of {wanted.owner}: "
                "narrow in a session instead"
            )
        self._grants.add(self._badges.new(), wanted)
        if wanted.session is not None:
            wanted.session.badges.add(wanted.badge)
        self.server.add_client(wanted.badge, wanted.owner, Directory)
        return wanted

    def space(self) -> Space:
        self._grant()
        return self._volume.space()

    def sync(self) -> None:
        self._grant()
        self._volume.sync()

    # --- files

    def open(self, path: str, flags: int) -> tuple[int, Endpoint]:
        handle = self._open(path, flags)
        try:
            return handle.size(), self._capability(handle)
        except BaseException:
            handle.session.drop(handle)
            raise

    def open_number(self, path: str, flags: int) -> tuple[int, int, int]:
        handle = self._open(path, flags)
        handle.is_numbered = True
        return handle.number, handle.size(), self._identity(handle)

    def file(self, file: int) -> Endpoint:
        return self._capability(self._handle(file))

    def _capability(self, handle: Handle) -> Endpoint:
        if not handle.badge:
            self._files.add(self._badges.new(), handle)
        return self._badges.file(handle.badge)

    def _open(self, path: str, flags: int) -> Handle:
        how = opening(flags)
        grant, session = self._in_session(how.access)
        session.ensure_room()
        full = join(grant.root, checked(path))
        node = None if self._nodes.size(full) is None else self._nodes.find(full)
        if node is None:
            is_new = bool(how.creates and self._watches) and not self._is_there(full)
            file = self._volume.open(full, create=how.creates, exclusive=how.is_exclusive)
            node = self._nodes.add(full, file)
            if is_new:
                self._watches.tell(ChangeKind.CREATED, full)
        elif how.is_exclusive:
            raise FileExists(f"{path!r} is there already")
        handle = session.add(node, how)
        if how.truncates and node.file.size():
            try:
                handle.truncate(0)
            except BaseException:
                session.drop(handle)
                raise
        return handle

    def _is_there(self, full: str) -> bool:
        try:
            self._volume.stat(full)
        except NoSuchFile:
            return False
        return True

    def _handle(self, number: int) -> Handle:
        session = self._session_by_badge.get(per_thread.serving.caller.badge)  # type: ignore[union-attr]  # a method runs
        if session is None:
            session = self._in_session()[1]
        return session.handle(number)

    def read_number(self, file: int, offset: int, length: int, at: int) -> int:
        return self._handle(file).read(offset, length, at)

    def write_number(self, file: int, offset: int, length: int, at: int) -> int:
        return self._handle(file).write(offset, length, at)

    def size_number(self, file: int) -> int:
        return self._handle(file).size()

    def truncate_number(self, file: int, size: int) -> None:
        self._handle(file).truncate(size)

    def sync_number(self, file: int) -> None:
        self._handle(file).sync()

    def close_number(self, file: int) -> None:
        handle = self._handle(file)
        handle.session.drop(handle)

    # --- going on after a death

    def origin(self) -> Origin:
        self._grant()
        return self._volume.origin

    def append_number(self, file: int, length: int, at: int) -> int:
        return self._handle(file).append(length, at)

    def identity_number(self, file: int) -> int:
        return self._identity(self._handle(file))

    def _identity(self, handle: Handle) -> int:
        if handle.node.path is None:
            raise StaleHandle("the file has no name any more")
        return self._volume.identity(handle.node.path)

    def reclaim_number(self, file: int, exclusive: bool) -> bool:
        handle = self._handle(file)
        return self._nodes.may_reclaim(handle.node, exclusive) and handle.node.lock.reclaim(handle, exclusive)

    # --- files as memory

    def adopt(self, file: Unwrapped) -> Adopted:
        _, session = self._in_session()
        if self.caller.name != self._pager:
            raise NotPermitted('only a pager adopts files: the setting pager = "…" of the file system names it')
        session.ensure_room()
        handle = session.adopt(self._files.find(file.badge))
        handle.is_numbered = True
        return Adopted(handle.number, handle.size(), handle.node.number, handle.how.writes)

    def overwrite_number(self, file: int, offset: int, length: int, at: int) -> int:
        return self._handle(file).overwrite(offset, length, at)

    # --- watches

    def watch(self, path: str, wake: Notification) -> int:
        grant, session = self._in_session(READ)
        self._sessions.ensure_slots(session.origin)
        self._volume.stat(join(grant.root, checked(path)))
        return session.watch(grant, path, wake)

    def changes(self, watch: int) -> Changes:
        return self._watches.take(self._in_session()[1].find_watch(watch))

    def unwatch(self, watch: int) -> None:
        self._in_session()[1].unwatch(watch)
