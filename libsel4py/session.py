"""Sessions that their clients pay for: the resource-pool pattern.

A method takes `pool: Untyped`. The server builds what it needs for that client from the pool, passes parts of it to the
servers that it calls on the client's behalf, and loses all of it when the client takes the pool back, at any moment.

    class Main(Counters):
        def start(self) -> None:
            self.sessions: Sessions[Counter] = Sessions(self.task)

        def open(self, pool: Untyped) -> Word:                         # for as long as the client likes
            return Word(self.sessions.open(pool, lambda session: Counter(session.make(ObjectType.NOTIFICATION))).number)

        def count(self, number: Word) -> int:
            with self.sessions.use(number) as session:
                return session.state.next()

        def once(self, pool: Untyped) -> int:                          # for the length of one request
            with self.sessions.request(pool) as session:
                return self.uses.next.once(session.part(12))

        @raises(NotEnoughMemory)
        def upgrade(self, number: Word, pool: Untyped) -> None:        # more, for a session that has not enough
            self.sessions.upgrade(number, pool)

Rules. The pool's own capability is what tells whether a session lives: the client's revoke empties its slot, and so
does the end of a client whose memory is taken back. The server is told by a death notice of 128 bytes, which `open`
makes of the pool when all else is made; then the session ends and its Python state is dropped. Where the pool has no
room for one, the end is seen when the session is used, when whatever used it fails, and by `sweep`, which `open` does
in part each time. What came by `upgrade` is as the pool: the session ends when the client takes any of it back. A slot
of an ended session is given to nobody before the last thread that uses the session has left it. What a client can make
a server keep is bounded: `per_client` sessions of `slots` slots, `upgrades` and one state each. Objects are the pool's,
so a client that opens without end exhausts its own memory.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from libsel4py.abi import UNTYPED_MIN_BITS, CapType, ObjectType
from libsel4py.capabilities import CNode, DeathNotice, Untyped
from libsel4py.context import Caller, per_thread
from libsel4py.deaths import Watch
from libsel4py.errors import InvalidMessage, KernelError, NotEnoughMemory, ServiceError
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.identify import identify
from libsel4py.session_slots import LEAST_SLOT_BITS, MOST_SLOT_BITS, SessionSlots
from libsel4py.task import Task, current_task

State = TypeVar("State")

SLOTS: Final = 8
PER_CLIENT: Final = 16
MOST: Final = 256
UPGRADES: Final = 8
SWEPT_AT_ONCE: Final = 4  # by each `open`
_NOBODY: Final = Caller(0, "nobody")


class SessionEnded(ServiceError):
    """The session's memory was taken back, or it was closed."""


class UnknownSession(ServiceError):
    """The caller has no session of this number."""


class TooManySessions(ServiceError):
    """The caller, or all clients together, have as many sessions as the server keeps."""


class TooManyUpgrades(ServiceError):
    """The session was given more memory as often as the server permits: open another one, with a larger pool."""


@dataclass(slots=True)
class _Memory:
    """A pool of a session's, and the notice that is made of it."""

    pool: Untyped
    notice: DeathNotice
    watch: Watch | None = None


class Session(Generic[State]):
    """What one client has at a server. Made by `Sessions`.

    Attributes:
        number: what the client names it by; no two sessions of a server ever have the same. caller: who opened it.
        size_bits: log2 of the pool's bytes. state: what the server keeps of it. slots: what its client pays of them.
    """

    state: State

    def __init__(self, task: Task, number: int, caller: Caller, pool: Untyped, size_bits: int, slots: range) -> None:
        self._memory = [_Memory(pool, DeathNotice(slots[-1]))]
        self.number = number
        self.caller = caller
        self.size_bits = size_bits
        self._task = task
        self._all_slots = slots
        self._slots = slots[:-1]
        self._taken = 0
        self._at_end: list[Callable[[], None]] = []
        self._lock = threading.RLock()
        self.slots = SessionSlots(task, self._retype_into, self._lock)
        self._users = 0
        self._ended = False

    @property
    def own_slots(self) -> int:
        """How many of the task's slots it takes: for what is made, and its memory."""
        return len(self._all_slots) + 2 * len(self._memory) - 1

    def make(self, object_type: ObjectType, size_bits: int = 0, count: int = 1) -> range:
        """Make objects from the pool; their slots, which follow each other. They go with the session, not before.

        Raises:
            NotEnoughMemory: the pool has no room for them: let it reach the client, which can come back with more.
            SessionEnded: the pool is gone. OutOfSlots: the session has no more slots. KernelError: refused otherwise.
        """
        with self._lock:
            first = self._slots.start + self._taken
            if self._ended:
                raise SessionEnded(f"session {self.number} is over")
            if first + count > self._slots.stop:
                raise OutOfSlots(f"session {self.number} has {len(self._slots)} slots: give `Sessions` more")
            self._retype(object_type, size_bits, self._task.cnode, first, count)
            self._taken += count
        return range(first, first + count)

    def _retype_into(self, object_type: ObjectType, size_bits: int, table: CNode, index: int) -> None:
        if self._ended:
            raise SessionEnded(f"session {self.number} is over")
        self._retype(object_type, size_bits, table, index, 1)

    def _retype(self, object_type: ObjectType, size_bits: int, table: CNode, first: int, count: int) -> None:
        """From the first of the session's pools that has room; raises what the one with most memory left says."""
        full: list[NotEnoughMemory] = []
        for memory in self._memory:
            try:
                memory.pool.retype(object_type, size_bits, table, first, count)
                return
            except NotEnoughMemory as error:
                full.append(error)
            except KernelError as error:
                if self.is_alive:
                    raise
                raise SessionEnded(f"the memory of session {self.number} was taken back") from error
        raise max(full, key=lambda error: error.payload)

    def part(self, size_bits: int) -> Untyped:
        """2**size_bits bytes of the pool, to be passed to another server. Raises as `make`.

        A part that is smaller than untyped memory can be is NotEnoughMemory: the pool was too small for its parts.
        """
        if size_bits < UNTYPED_MIN_BITS:
            raise NotEnoughMemory(1 << self.size_bits, explanation=f"a part of it would have 2**{size_bits} bytes")
        return Untyped(self.make(ObjectType.UNTYPED, size_bits).start)

    def at_end(self, action: Callable[[], None]) -> None:
        """Have something done when the session ends, for example a deferred reply failed; at once if it has ended."""
        with self._lock:
            if not self._ended:
                self._at_end.append(action)
                return
        action()

    @property
    def is_alive(self) -> bool:
        """Whether the client has left the pool here, and all that it was upgraded by. One system call for each."""
        return not self._ended and all(
            identify(memory.pool.cptr).type == CapType.UNTYPED.name for memory in self._memory
        )

    def watch(self, gone: Callable[[], None]) -> None:
        """Call ``gone`` when the pool is taken back, if the pool has room for a death notice. By `Sessions.open`."""
        with self._lock:
            if not self._ended:
                self._watch_one(self._memory[0], gone)

    def _watch_one(self, memory: _Memory, gone: Callable[[], None]) -> None:
        with contextlib.suppress(KernelError, OutOfSlots):  # no room; and who is gone already is found as ever
            memory.pool.retype(ObjectType.DEATH_NOTICE, 0, self._task.cnode, memory.notice.cptr, 1)
            memory.watch = self._task.deaths.watch_memory(memory.notice, lambda death: gone())

    def add_slots(self, bits: int) -> None:
        """2**bits more of `slots`, of the session's memory. By `Sessions`. Raises TooManyUpgrades, and as `make`."""
        try:
            table = self.make(ObjectType.CNODE, bits).start
        except OutOfSlots as error:
            raise TooManyUpgrades(f"session {self.number} has as many tables of slots as the server permits") from error
        self.slots.add(table, bits)

    def upgrade(self, pool: Untyped, most: int, gone: Callable[[], None], slot_bits: int | None = None) -> None:
        """More memory, and of it 2**slot_bits slots, if that is given.

        By `Sessions.upgrade`, whose errors it raises; then the pool is still the caller's.
        """
        with self._lock:
            if self._ended:
                raise SessionEnded(f"session {self.number} is over")
            if len(self._memory) > most:
                raise TooManyUpgrades(f"session {self.number} was upgraded {most} times")
            memory = _Memory(pool, DeathNotice(self._task.slots.allocate()))
            try:
                if slot_bits is not None:
                    self._memory.insert(0, memory)
                    try:
                        self.add_slots(slot_bits)
                    finally:
                        del self._memory[0]
            except BaseException:
                self._task.slots.free(memory.notice.cptr)
                raise
            self._watch_one(memory, gone)
            self._memory.append(memory)

    # --- what Sessions does ------------------------------------------------------------------------------------

    def enter(self) -> bool:
        """Count one more user; False if the session has ended."""
        with self._lock:
            if self._ended:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        """One user less. The last one cleans up what has ended."""
        with self._lock:
            self._users -= 1
            last = self._ended and not self._users
        if last:
            self._clean_up()

    def end(self) -> None:
        """Run what is to be done at the end; give all memory back, when nobody uses the session any more."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            unused = not self._users
            actions, self._at_end = self._at_end, []
        with contextlib.ExitStack() as stack:  # all of them, even if one raises
            if unused:
                stack.callback(self._clean_up)
            for action in reversed(actions):
                stack.callback(action)

    def _clean_up(self) -> None:
        task = self._task
        for memory in self._memory:
            if memory.watch is not None:
                memory.watch.cancel()
            task.cnode.revoke(memory.pool.cptr)
        for slot in self._slots[: self._taken]:
            task.channels.forget(slot)
            task.cnode.delete(slot)
        task.slots.free_range(self._all_slots)
        for number, memory in enumerate(self._memory):
            if number:
                task.slots.free(memory.notice.cptr)
            task.delete(memory.pool)
        if hasattr(self, "state"):
            del self.state


@dataclass(frozen=True, slots=True)
class SessionStatistics:
    """A server's sessions at one moment.

    Attributes:
        sessions: that are open. clients: who have them. pool_bytes: that these were opened with, without what came by
            `upgrade`. opened: since the server's start, those that are open included. refused: for `per_client` or
            `most`.
    """

    sessions: int
    clients: int
    pool_bytes: int
    opened: int
    refused: int


class Sessions(Generic[State]):
    """A server's sessions. Threads of a task share one.

    Args:
        task: whose slots are used. slots: for each session, besides the pool's.
        least_bits: log2 of the smallest pool that is taken.
        per_client: sessions of one client. most: of all. client_of: who counts as one; by default each badge.
        upgrades: of one session, at most.
    """

    def __init__(
        self,
        task: Task | None = None,
        *,
        slots: int = SLOTS,
        least_bits: int = UNTYPED_MIN_BITS,
        per_client: int = PER_CLIENT,
        most: int = MOST,
        upgrades: int = UPGRADES,
        client_of: Callable[[Caller], Hashable] = lambda caller: caller.badge,
    ) -> None:
        self._task = task or current_task()
        self._slots = slots
        self._least_bits = least_bits
        self._per_client = per_client
        self._most = most
        self._upgrades = upgrades
        self._sessions: dict[int, Session[State]] = {}
        self._client_of = client_of
        self._by_client: dict[Hashable, int] = {}
        self._numbers = itertools.count(1)
        self._next_swept = 0
        self._opened = self._refused = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def statistics(self) -> SessionStatistics:
        """Requests' own sessions (`request`) count as long as they last."""
        with self._lock:
            pools = sum(1 << session.size_bits for session in self._sessions.values())
            return SessionStatistics(len(self._sessions), len(self._by_client), pools, self._opened, self._refused)

    def open(
        self, pool: Untyped, build: Callable[[Session[State]], State], *, slot_bits: int | None = None
    ) -> Session[State]:
        """A new session of the calling client; ``build`` makes its state. The pool is the session's from here on.

        Args:
            slot_bits: of the pool first 2**slot_bits slots are made, which are `Session.slots`.

        What ``build`` raises leaves nothing behind, so that a client whose pool was too small has it back whole.

        Raises:
            TooManySessions. NotEnoughMemory: the pool is smaller than `least_bits`. OutOfSlots: this task has none.
            InvalidMessage: what came is no plain memory. SessionEnded: it was taken back while ``build`` ran.
        """
        session = self._add(pool)
        try:
            with self._entered(session):
                if slot_bits is not None:
                    session.add_slots(_ensure_slot_bits(slot_bits))
                session.state = build(session)
            session.watch(lambda: self.end(session))
        except BaseException:
            self.end(session)
            raise
        return session

    @contextmanager
    def use(self, number: int) -> Iterator[Session[State]]:
        """The calling client's session of this number, for the length of the block.

        Raises:
            UnknownSession: the client has none. SessionEnded: its memory is gone; also raised in the place of whatever
                the block raised because of that.
        """
        found = self._mine(number)
        with self._entered(found):
            if not found.is_alive:
                raise SessionEnded(f"the memory of session {number} was taken back")
            yield found

    def upgrade(self, number: int, pool: Untyped, *, slot_bits: int | None = None) -> None:
        """Give the calling client's session of this number more memory, which is the session's from here on.

        With ``slot_bits``, 2**slot_bits slots more are made of it for `Session.slots`, or nothing is taken.

        What was refused for want of memory can be asked for again; what the session has made stays as it is.

        Raises:
            UnknownSession, SessionEnded. NotEnoughMemory: the pool is smaller than `least_bits`. TooManyUpgrades.
            OutOfSlots: this task has none. InvalidMessage: what came is no plain memory.
        """
        self._task.receive.unclaimed.discard(pool.cptr)
        try:
            found = self._mine(number)
            self._look_at(pool)
            with self._entered(found):
                bits = None if slot_bits is None else _ensure_slot_bits(slot_bits)
                found.upgrade(pool, self._upgrades, lambda: self.end(found), bits)
        except BaseException:
            self._task.delete(pool)
            raise

    @contextmanager
    def request(self, pool: Untyped) -> Iterator[Session[State]]:
        """A session for the length of the block, which is one request. Raises as `open` and `use`."""
        session = self._add(pool)
        try:
            with self._entered(session):
                yield session
        finally:
            self.end(session)

    def close(self, number: int) -> None:
        """End the calling client's session: all that was made of its pool is deleted, and the pool given up.

        Raises UnknownSession. One whose memory is gone is closed all the same.
        """
        found = self._mine(number)
        self.end(found)

    def _mine(self, number: int) -> Session[State]:
        found = self._sessions.get(number)
        if found is None or found.caller.badge != _caller().badge:
            raise UnknownSession(f"you have no session {number}")
        return found

    def sweep(self, most: int | None = None) -> int:
        """End sessions whose memory was taken back; returns how many. One system call for each that is looked at.

        Args:
            most: to look at, going on where the last sweep stopped; all of them by default.
        """
        with self._lock:
            numbers = sorted(self._sessions)
            start = next((at for at, number in enumerate(numbers) if number >= self._next_swept), 0)
            chosen = (numbers[start:] + numbers[:start])[:most]
            if chosen:
                self._next_swept = chosen[-1] + 1
            sessions = [self._sessions[number] for number in chosen]
        dead = [session for session in sessions if not session.is_alive]
        for session in dead:
            self.end(session)
        return len(dead)

    @contextmanager
    def _entered(self, session: Session[State]) -> Iterator[None]:
        if not session.enter():
            raise SessionEnded(f"session {session.number} is over")
        try:
            yield
        except Exception as error:
            if session.is_alive:
                raise
            self.end(session)
            if isinstance(error, SessionEnded):
                raise
            raise SessionEnded(f"the memory of session {session.number} was taken back") from error
        finally:
            session.leave()

    def _add(self, pool: Untyped) -> Session[State]:
        task, caller = self._task, _caller()
        task.receive.unclaimed.discard(pool.cptr)
        try:
            self.sweep(SWEPT_AT_ONCE)
            if self._is_full(caller):
                self.sweep()
            size_bits = self._look_at(pool)
            slots = task.slots.allocate_range(self._slots + 1)
        except BaseException:
            task.delete(pool)
            raise
        session: Session[State] = Session(task, next(self._numbers), caller, pool, size_bits, slots)
        with self._lock:
            full = self._is_full(caller)
            self._opened += not full
            self._refused += full
            if not full:
                self._sessions[session.number] = session
                client = self._client_of(caller)
                self._by_client[client] = self._by_client.get(client, 0) + 1
        if full:
            session.end()
            raise TooManySessions(f"{caller.name} has {self._count(caller)} sessions of {len(self)}")
        return session

    def _look_at(self, pool: Untyped) -> int:
        """log2 of the pool's bytes."""
        found = identify(pool.cptr)
        if found.type != CapType.UNTYPED.name or found.is_device:
            what = "device memory" if found.is_device else found.type
            raise InvalidMessage(f"a pool is untyped memory, and this is {what}")
        if found.size_bits < self._least_bits:
            raise NotEnoughMemory(
                1 << found.size_bits, explanation=f"a pool has {1 << self._least_bits} bytes here, or more"
            )
        return found.size_bits

    def _is_full(self, caller: Caller) -> bool:
        return self._count(caller) >= self._per_client or len(self._sessions) >= self._most

    def _count(self, caller: Caller) -> int:
        return self._by_client.get(self._client_of(caller), 0)

    def end(self, session: Session[State]) -> None:
        """End a session, whoever calls: for servers that name sessions in another way. Twice is no error."""
        with self._lock:
            if self._sessions.pop(session.number, None) is not None:
                client = self._client_of(session.caller)
                self._by_client[client] -= 1
                if not self._by_client[client]:
                    del self._by_client[client]
        session.end()


def _caller() -> Caller:
    serving = per_thread.serving
    return serving.caller if serving is not None else _NOBODY


def _ensure_slot_bits(bits: int) -> int:
    if not LEAST_SLOT_BITS <= bits <= MOST_SLOT_BITS:
        raise InvalidMessage(f"2**{bits} slots: a session is given 2**{LEAST_SLOT_BITS} to 2**{MOST_SLOT_BITS} at once")
    return bits
