"""A program's session with the network server, which is opened anew after that server's death.

Sockets live in one session and end with it; `NetSession.life` says which there is. Calls that may be asked twice go by
`NetSession.ask`; others find out by `NetSession.is_over` what an error means.

Rules: a session is renewed under a lock, by the call that finds the former one over, and only if the server says that
it knows nothing of it. The memory that was lent for the former one is taken back before.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Final, NamedTuple, TypeVar

from libsel4py.abi import ObjectType
from libsel4py.capabilities import Endpoint, Untyped
from libsel4py.dataspace import DataSpace
from libsel4py.environment import ChannelUse
from libsel4py.errors import InvalidCapability, ServerDied
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.network import FOREVER, MOST_TRANSFER, InterfaceState, Network, StaleSocket
from libsel4py.lowlevel.collecting import Leftovers, is_collecting
from libsel4py.net_errors import FAILURES, as_os_error, os_error
from libsel4py.task import Task, current_task

Result = TypeVar("Result")
Self = TypeVar("Self", bound="NetSession")

POOL_BITS: Final = 20  # 63 sockets
MOST_TRIES: Final = 64  # of one call, each of which a server has died with
WINDOW_BYTES: Final = 64 << 10
WINDOWS: Final = 4


class Life(NamedTuple):
    """A session's client, and how many sessions its `Net` had before."""

    session: Network
    generation: int


class NetSession:
    """A session with the network server, and the next one after that server's death. Threads share it.

    Args:
        network: the server's client. task: whose memory is lent and whose data space is the buffer.
        pool_bits: log2 of the bytes that are lent: 16 KiB for each socket, and a page.
        windows, window_bytes: of the buffer. A window is what one call moves: larger ones (256 KiB, at most) are for
            who has much to send or to get, and save calls and wake-ups.
    Raises:
        NotEnoughMemory: the task's pool has no room. OSError: the server refuses.
    Attributes:
        life: the session, which is another one after the server's death. window_bytes: of each window.
        returning: held by who makes a socket again.
        leftovers: of the finalizers of its sockets, and of former sessions.
    """

    def __init__(
        self,
        network: Network,
        task: Task | None = None,
        *,
        pool_bits: int = POOL_BITS,
        windows: int = WINDOWS,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        if not 0 < window_bytes <= MOST_TRANSFER:
            raise ValueError(f"a window of {window_bytes} bytes: give up to {MOST_TRANSFER}")
        self.window_bytes = window_bytes
        self._task = task = task or current_task()
        self._network = network
        self._lock = threading.Lock()
        self.returning = threading.Lock()
        with ExitStack() as undo:
            self._pool = Untyped(task.memory.allocate(ObjectType.UNTYPED, pool_bits).start)
            undo.callback(task.memory.free, self._pool.cptr)
            self._space = DataSpace.allocate(windows * window_bytes, task)
            undo.callback(self._space.close)
            self.mapping = self._space.attach()
            with as_os_error():
                self.life = Life(self._begin(), 0)
            undo.pop_all()
        self._windows: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.leftovers = Leftovers()
        for number in range(windows):
            self._windows.put(number * window_bytes)

    @property
    def session(self) -> Network:
        """The session's client, for what is not wrapped here."""
        return self.life.session

    @property
    def generation(self) -> int:
        """How many sessions there were before."""
        return self.life.generation

    def _begin(self) -> Network:
        endpoint: Endpoint = self._network.session(self._pool)
        with ExitStack() as undo:
            undo.callback(self._task.delete, endpoint)
            self._task.channels.offer(endpoint, ChannelUse.AUTO)
            session = Network(endpoint)
            shared = self._space.share()
            try:
                session.attach(shared)
            finally:
                self._space.drop(shared)
            undo.pop_all()
        return session

    def ask(self, act: Callable[[Network], Result]) -> Result:
        """Call the session with what may be asked twice, and another one if it is over. Raises OSError."""
        for left in reversed(range(MOST_TRIES)):
            session, seen = self.life
            try:
                return act(session)
            except FAILURES as error:
                if not left or not self.is_over(error, seen):
                    raise os_error(error) from error
        raise AssertionError("the last try has raised")

    def is_over(self, error: Exception, seen: int) -> bool:
        """Whether an error came because the session of generation ``seen`` is over; there is another one then.

        Raises OSError: there is none to be had.
        """
        return isinstance(error, (StaleSocket, ServerDied, InvalidCapability)) and self.renew(seen)

    def renew(self, seen: int) -> bool:
        """Whether there is another session than that of generation ``seen``; one is opened if that one is over.

        Raises OSError: there is none to be had.
        """
        with self._lock:
            for left in reversed(range(MOST_TRIES)):
                if self.generation != seen:
                    return True
                try:
                    if not self._has_ended():
                        return False
                    self._task.cnode.revoke(self._pool.cptr)
                    session = self._begin()
                except FAILURES as error:
                    if left and isinstance(error, (StaleSocket, ServerDied)):
                        continue
                    raise os_error(error) from error
                former, self.life = self.life, Life(session, seen + 1)
                self._retire(former.session)
        return True

    def _retire(self, session: Network) -> None:
        """Delete a former session's capability."""
        endpoint = endpoint_of(session)
        self._task.empty(endpoint)
        weakref.finalize(session, self._give_back, endpoint.cptr).atexit = False

    def _give_back(self, slot: int) -> None:
        """Nobody has the client any more that called by this slot."""
        if is_collecting():  # whoever has the allocator's lock may be this thread
            self.leftovers.leave(lambda: self._task.slots.free(slot))
        else:
            self._task.slots.free(slot)

    def _has_ended(self) -> bool:
        """Whether the server knows nothing of the session, or has another endpoint. Raises NetworkError, ServerDied."""
        try:
            self.session.rules()
        except (StaleSocket, InvalidCapability):
            return True
        return False

    @contextmanager
    def window(self) -> Iterator[int]:
        """A window of the buffer: its offset. Waits while all are in use."""
        at = self._windows.get()
        try:
            yield at
        finally:
            self._windows.put(at)

    def may_wait(self) -> bool:
        """Whether who has a window may keep it while it waits."""
        return not self._windows.empty()

    def lookup(self, name: str, timeout: float | None = None) -> list[str]:
        """Addresses of a name. Raises socket.gaierror, OSError."""
        return self.ask(lambda session: session.lookup(name, time_limit(timeout)))

    def ping(self, host: str, size: int = 56, timeout: float | None = 5.0) -> float | None:
        """Seconds until the host's echo came, None if it did not in time. Raises OSError."""
        taken = self.ask(lambda session: session.ping(host, size, time_limit(timeout)))
        return None if taken < 0 else taken / 1e9

    def interfaces(self) -> list[InterfaceState]:
        """The stack's interfaces. Raises OSError."""
        return self.ask(lambda session: session.interfaces())

    def close(self) -> None:
        """End the session with all its sockets, and take the memory back."""
        try:
            self.leftovers.settle()  # what finalizers had to send, while there is a session
            with as_os_error(), suppress(StaleSocket, ServerDied, InvalidCapability):  # who knew of it has died
                self.session.close()
        finally:
            self._task.delete(endpoint_of(self.session))
            self._space.close()
            self._task.memory.free(self._pool.cptr)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def time_limit(timeout: float | None) -> int:
    """Seconds as the interface's nanoseconds. Raises ValueError: negative, or no number."""
    if timeout is None:
        return FOREVER
    if not timeout >= 0:  # as NaN is not
        raise ValueError("a timeout is no less than 0 seconds")
    return int(min(timeout * 1e9, FOREVER))
