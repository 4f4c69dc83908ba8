"""What a client has at a file system: its buffer, its open files, its watches. All of it ends together.

Rules: how much a session may have is counted against the memory that was lent for it: `HANDLE_BYTES` for each open
file, watch and narrowed capability, and `MOST_HANDLES` at most. So who opens without end comes to the end of its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from libsel4py.abi import VMFault
from libsel4py.capabilities import Notification
from libsel4py.dataspace import SharedMemory
from libsel4py.filesystem.grants import Grant
from libsel4py.filesystem.handles import Handle
from libsel4py.filesystem.nodes import Node, Nodes
from libsel4py.filesystem.opening import Opening
from libsel4py.filesystem.watches import MOST_WATCHES, Watch, Watches
from libsel4py.interfaces.file import (
    HANDLE_BYTES,
    MOST_BUFFER_BYTES,
    MOST_HANDLES,
    FileError,
    StaleHandle,
    TooManyOpen,
)
from libsel4py.mapping import Mapping
from libsel4py.session import Session
from libsel4py.session_memory import PAGE_BYTES, Life, SessionBuffer
from libsel4py.task import Task

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all sessions of a server have in common.

    Attributes:
        sweep: end all sessions whose memory is gone; how many there were. forget: the capability of an open file.
    """

    task: Task
    nodes: Nodes
    watches: Watches
    sweep: Callable[[], int]
    forget: Callable[[Handle], None]


class FileSession:
    """One session. ``lent`` is what its client has paid, ``close`` ends that and all that the session has.

    Attributes:
        badges: of its capability, and of those narrowed by it. origin: the grant that it was opened by.
        parent: the session by which it was opened, or None. children: those that were opened by these badges, which end
        with it. depth: how many sessions are above it.
        look: raises VMFault if the memory is gone.
    """

    def __init__(self, lent: Session[FileSession], close: Callable[[], None], origin: Grant, shared: Shared) -> None:
        self.origin = origin
        self.badges: set[int] = set()
        self.close = close
        self.sweep = shared.sweep
        self._shared = shared
        self._task = shared.task
        self._handles: dict[int, Handle] = {}
        self._watches: dict[int, Watch] = {}
        self._last = int.from_bytes(os.urandom(4), "little") << 16  # no number of another session, or life
        self._lent_slots = lent.own_slots
        self._limit = min(MOST_HANDLES, ((1 << lent.size_bits) - PAGE_BYTES) // HANDLE_BYTES)
        self._buffer = SessionBuffer(self._task, MOST_BUFFER_BYTES)
        self._life = Life(lent, self._task)  # type: ignore[arg-type]  # it makes a page of it, and knows no state
        self.children: set[FileSession] = set()
        self.parent = origin.session
        self.depth: int = 0 if self.parent is None else self.parent.depth + 1
        self.look = self._life.look if self.parent is None else self._look_at_all
        lent.at_end(self._end)
        if self.parent is not None:
            self.parent.children.add(self)

    def is_alive(self) -> bool:
        """Whether its client has left its memory here, and so has that of the session by which it was opened."""
        return self._life.is_there() and (self.parent is None or self.parent.is_alive())

    def _look_at_all(self, offset: int) -> int:
        assert self.parent is not None
        self.parent.look(offset)
        return self._life.look(offset)

    def ensure_alive(self) -> None:
        """End the session if its memory is gone. Raises StaleHandle."""
        if not self.is_alive():
            self.close()
            raise StaleHandle("the session is over: its memory was taken back")

    @property
    def slots(self) -> int:
        """How many of the server's slots it takes."""
        return self._lent_slots + self._buffer.slots + len(self._watches)

    def ensure_room(self) -> None:
        """Raises TooManyOpen: the memory that was lent is used up."""
        if len(self._handles) + len(self._watches) + len(self.badges) > self._limit:
            raise TooManyOpen(f"the session's memory is enough for {self._limit} handles: close some, or lend more")

    # --- the buffer

    def attach(self, memory: SharedMemory) -> None:
        """Raises NotADataSpace, OutOfSlots, KernelError."""
        self._buffer.attach(memory)

    def buffer(self) -> Mapping:
        """Raises StaleHandle: there is none."""
        mapping = self._buffer.mapping
        if mapping is None:
            raise StaleHandle("the session has no buffer: attach one")
        return mapping

    # --- files

    def add(self, node: Node, how: Opening) -> Handle:
        """One more handle of an open file."""
        self._last += 1
        handle = self._handles[self._last] = Handle(self, self._last, node, how, self._shared.watches)
        return handle

    def adopt(self, handle: Handle) -> Handle:
        """A handle of this session for another one's open file, for what that one may do. Raises as it."""
        handle.ensure_adoptable()
        made = self.add(handle.node, handle.how)
        made.lender = handle.lender or handle.session.parent
        return made

    def handle(self, number: int) -> Handle:
        """An open file of a session that is alive. Raises StaleHandle."""
        try:
            self.look(0)
        except VMFault:
            self.ensure_alive()
        found = self._handles.get(number)
        if found is None:
            raise StaleHandle(f"the session has no open file {number}")
        if found.lender is not None:
            found.ensure_lent()
        return found

    def handles(self) -> list[Handle]:
        """All open files."""
        return list(self._handles.values())

    def drop(self, handle: Handle) -> None:
        """End a handle. Raises as `OpenFile.close`; the handle is gone all the same."""
        if self._handles.pop(handle.number, None) is not None:
            self._shared.forget(handle)
            handle.node.lock.release(handle)
            try:
                if handle.has_written and handle.node.users > 1:
                    handle.node.file.sync()  # nobody is left who would write it again, if the server died
            finally:
                self._shared.nodes.leave(handle.node)

    # --- watches

    def watch(self, grant: Grant, path: str, wake: Notification) -> int:
        """Raises TooManyOpen."""
        self.ensure_room()
        if len(self._watches) >= MOST_WATCHES:
            raise TooManyOpen(f"a session has at most {MOST_WATCHES} watches")
        self._last += 1
        watch = self._watches[self._last] = Watch(grant, path, wake)
        self._shared.watches.add(watch)
        return self._last

    def find_watch(self, number: int) -> Watch:
        """Raises StaleHandle."""
        found = self._watches.get(number)
        if found is None:
            raise StaleHandle(f"the session has no watch {number}")
        return found

    def unwatch(self, number: int) -> None:
        """Raises StaleHandle."""
        watch = self.find_watch(number)
        del self._watches[number]
        self._shared.watches.remove(watch)
        self._task.delete(watch.wake)

    def _end(self) -> None:
        if self.parent is not None:
            self.parent.children.discard(self)
        for handle in self.handles():
            try:
                self.drop(handle)
            except FileError as error:
                _log.warning("%s was closed with the session of its client: %s", handle.node.path, error)
        for number in list(self._watches):
            self.unwatch(number)
        self._buffer.detach()
        self._life.end()
