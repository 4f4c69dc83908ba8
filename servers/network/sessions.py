"""What a client has on the network: its buffer, its sockets, and what it is to be told. All of it ends together.

Rules: each socket, and each narrowed capability, counts as `SOCKET_BYTES` of the memory that was lent, and
`MOST_SOCKETS` at most. The buffer can be written by its client at any moment, and be gone at any moment: bytes are
copied once, by a guarded access.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from libsel4py.abi import VMFault
from libsel4py.capabilities import Notification
from libsel4py.dataspace import SharedMemory
from libsel4py.errors import InvalidMessage
from libsel4py.interfaces.network import (
    MOST_BUFFER_BYTES,
    MOST_SOCKETS,
    MOST_TRANSFER,
    SOCKET_BYTES,
    Kind,
    NotPermitted,
    Ready,
    StaleSocket,
    TooManySockets,
)
from libsel4py.lowlevel.syscalls import Message, nb_send
from libsel4py.mapping import Mapping
from libsel4py.session import Session
from libsel4py.session_memory import PAGE_BYTES, Life, SessionBuffer
from libsel4py.task import Task
from servers.network.sockets import NetSocket
from servers.network.timers import Timers

if TYPE_CHECKING:
    from servers.network.grants import Grant
    from servers.network.protocols import StackSocket

MOST_WAITING: Final = 128  # calls of one client of the description that wait


class NetworkSession:
    """One session. ``lent`` is what its client has paid.

    Attributes:
        origin: the grant that it was opened by. close: end it. narrowed: capabilities that were narrowed by it.
    """

    def __init__(
        self,
        lent: Session[NetworkSession],
        end: Callable[[], None],
        task: Task,
        origin: Grant,
        timers: Timers,
        changed: Callable[[NetSocket], None],
        dropped: Callable[[NetSocket], None],
        waiting: Counter[str],
    ) -> None:
        self.origin = origin
        self.close = end
        self._waiting = waiting
        self.narrowed = 0
        self._task = task
        self._timers = timers
        self._changed = changed
        self._dropped = dropped
        self._sockets: dict[int, NetSocket] = {}
        self._last = 0
        self._lent_slots = lent.own_slots
        self._limit = min(MOST_SOCKETS, ((1 << lent.size_bits) - PAGE_BYTES) // SOCKET_BYTES)
        self._buffer = SessionBuffer(task, MOST_BUFFER_BYTES)
        self._wake: Notification | None = None
        self._ready: dict[int, int] = {}
        self._life = Life(lent, task)  # type: ignore[arg-type]  # it makes a page of it, and knows no state
        lent.at_end(self._end)

    def ensure_alive(self) -> None:
        """End the session if its memory is gone. Raises StaleSocket."""
        if not self._life.is_there():
            self.close()
            raise StaleSocket("the session is over: its memory was taken back")

    @property
    def slots(self) -> int:
        """How many of the server's slots it takes."""
        return self._lent_slots + self._buffer.slots + (self._wake is not None)

    # --- the buffer

    def attach(self, memory: SharedMemory) -> None:
        """Raises NotADataSpace, OutOfSlots, KernelError."""
        self._buffer.attach(memory)

    def buffer(self, length: int, at: int) -> Mapping:
        """The buffer, if these bytes are in it. Raises StaleSocket: there is none; InvalidMessage."""
        mapping = self._buffer.mapping
        if mapping is None:
            raise StaleSocket("the session has no buffer: attach one")
        if length > MOST_TRANSFER or at < 0 or length > mapping.size - at:
            raise InvalidMessage(
                f"{length} bytes at {at} are not all in the buffer's {mapping.size}, or more than {MOST_TRANSFER}"
            )
        return mapping

    def get(self, length: int, at: int) -> bytes:
        """A copy of bytes of the buffer. Raises as `buffer`, and StaleSocket."""
        try:
            return self.buffer(length, at).read(at, length)
        except VMFault as error:
            raise StaleSocket("the buffer's memory was taken back") from error

    def put(self, mapping: Mapping, at: int, data: bytes) -> None:
        """Bytes to the buffer. Raises StaleSocket: it is another by now, or gone; NotPermitted: it is read-only."""
        if mapping is not self._buffer.mapping:
            raise StaleSocket("another buffer was attached while this waited")
        try:
            mapping.write(at, data)
        except VMFault as error:
            raise StaleSocket("the buffer's memory was taken back") from error
        except TypeError as error:
            raise NotPermitted("the buffer is read-only memory: attach one that can be written") from error

    # --- sockets

    def ensure_room(self) -> None:
        """Raises TooManySockets: the memory that was lent is used up."""
        if len(self._sockets) + self.narrowed >= self._limit:
            raise TooManySockets(f"the session's memory is enough for {self._limit} sockets: close some, or lend more")

    def ensure_may_wait(self) -> None:
        """Raises TooManySockets: too many calls of the client wait."""
        if self._waiting[self.origin.owner] >= MOST_WAITING:
            raise TooManySockets(f"{MOST_WAITING} calls of the client wait already: use watch() for many sockets")

    def waits(self, change: int) -> None:
        """One call more, or one less, waits."""
        self._waiting[self.origin.owner] += change

    def adopt(self, kind: Kind, version: int, raw: StackSocket) -> NetSocket:
        """One more socket; broken off if there is no room for it. Raises TooManySockets."""
        try:
            self.ensure_room()
        except TooManySockets:
            raw.abort()
            raise
        self._last += 1
        made = self._sockets[self._last] = NetSocket(self, self._last, kind, version, raw)
        raw.on_event = lambda _: self._changed(made)
        return made

    def find(self, number: int) -> NetSocket:
        """Raises StaleSocket."""
        found = self._sockets.get(number)
        if found is None:
            raise StaleSocket(f"the session has no socket {number}")
        return found

    def drop(self, sock: NetSocket, *, abort: bool = False) -> None:
        """End a socket."""
        if self._sockets.pop(sock.number, None) is not None:
            self._ready.pop(sock.number, None)
            self._dropped(sock)
            sock.end(self._timers, abort=abort)

    # --- what it is told

    def watch(self, wake: Notification) -> None:
        former, self._wake = self._wake, wake
        if former is not None:
            self._task.delete(former)
        if self._ready:
            nb_send(wake.cptr, Message())

    def tell(self, number: int, events: int) -> None:
        """A socket has something. A signal never waits, whatever capability the client has given for it."""
        if not self._ready and self._wake is not None:
            nb_send(self._wake.cptr, Message())
        self._ready[number] = self._ready.get(number, 0) | events

    def take_ready(self) -> list[Ready]:
        """What was told since the last time."""
        taken, self._ready = self._ready, {}
        return [Ready(number, events) for number, events in taken.items()]

    def _end(self) -> None:
        for sock in list(self._sockets.values()):
            self.drop(sock, abort=True)
        wake, self._wake = self._wake, None
        if wake is not None:
            self._task.delete(wake)
        self._buffer.detach()
        self._life.end()
