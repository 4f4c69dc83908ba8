"""Sockets as Python programs know them, over the network server: `Net` has a session there, and makes them.

    net = Net(self.uses.network)
    with net.create_connection(("example.org", 80), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        page = sock.makefile("rb").read()

A `NetSocket` has the methods of Python's `socket.socket` that programs use, with the same meaning, and raises the same
`OSError`s. It has no descriptor: what waits by `select` does not work with it, and asyncio has `libsel4py.net_aio`.

Rules: a call moves at most `Net.window_bytes`, by a window of the session's buffer that is the calling thread's
meanwhile, so that no bytes of two sockets meet. Who waits keeps its window, which saves two calls; but nobody waits
with the last one, so that any number of threads may wait at one time.
"""

from __future__ import annotations

import errno
import io
import queue
import socket as host_socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final

from libsel4py.abi import ObjectType
from libsel4py.capabilities import Endpoint, Untyped
from libsel4py.dataspace import DataSpace
from libsel4py.environment import ChannelUse
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.network import (
    AGAIN,
    FOREVER,
    MOST_BACKLOG,
    MOST_TRANSFER,
    Address,
    Events,
    InterfaceState,
    Kind,
    Network,
    NetworkError,
    Shut,
)
from libsel4py.lowlevel.collecting import Leftovers, is_collecting
from libsel4py.net_errors import as_os_error
from libsel4py.task import Task, current_task

if TYPE_CHECKING:
    from typing_extensions import Buffer

POOL_BITS: Final = 20  # 63 sockets
WINDOW_BYTES: Final = 64 << 10
WINDOWS: Final = 4
AF_INET: Final = host_socket.AF_INET
AF_INET6: Final = host_socket.AF_INET6
SOCK_STREAM: Final = host_socket.SOCK_STREAM
SOCK_DGRAM: Final = host_socket.SOCK_DGRAM
Place = tuple[str, int]
_KINDS: Final[dict[int, Kind]] = {SOCK_STREAM: Kind.STREAM, SOCK_DGRAM: Kind.DATAGRAM}
_VERSIONS: Final[dict[int, int]] = {AF_INET: 4, AF_INET6: 6}


class Net:
    """A session with the network server. Threads share it.

    Args:
        network: the server's client. task: whose memory is lent and whose data space is the buffer.
        pool_bits: log2 of the bytes that are lent: 16 KiB for each socket, and a page.
        windows, window_bytes: of the buffer. A window is what one call moves: larger ones (256 KiB, at most) are for
            who has much to send or to get, and save calls and wake-ups.
    Raises:
        NotEnoughMemory: the task's pool has no room. OSError: the server refuses.
    Attributes:
        session: the session's client, for what is not wrapped here. window_bytes: of each window.
        leftovers: of the finalizers of its sockets.
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
        self._pool = Untyped(task.memory.allocate(ObjectType.UNTYPED, pool_bits).start)
        self._space = DataSpace.allocate(windows * window_bytes, task)
        with as_os_error():
            endpoint: Endpoint = network.session(self._pool)
            task.channels.offer(endpoint, ChannelUse.AUTO)
            self.session = Network(endpoint)
            shared = self._space.share()
            self.session.attach(shared)
            self._space.drop(shared)
        self.mapping = self._space.attach()
        self._windows: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.leftovers = Leftovers()
        for number in range(windows):
            self._windows.put(number * window_bytes)

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

    def socket(self, family: int = AF_INET, type: int = SOCK_STREAM) -> NetSocket:  # as `socket.socket` names it
        """A new socket. Raises OSError: too many, or the family or type is none of these."""
        if family not in _VERSIONS or type not in _KINDS:
            raise OSError("a socket is of AF_INET or AF_INET6, and of SOCK_STREAM or SOCK_DGRAM")
        self.leftovers.settle()
        with as_os_error():
            return NetSocket(self, self.session.socket(_KINDS[type], _VERSIONS[family]), family, type)

    def create_connection(
        self, address: Place, timeout: float | None = None, source_address: Place | None = None
    ) -> NetSocket:
        """A stream to host (a name, or an address) and port; tries each address of the name.

        Raises:
            OSError: of the last address that was tried. TimeoutError: not in ``timeout`` seconds (None: no limit).
            socket.gaierror: the name has no address.
        """
        failed: OSError | None = None
        for host in self.lookup(address[0], timeout):
            made = self.socket(AF_INET6 if ":" in host else AF_INET)
            try:
                made.settimeout(timeout)
                if source_address is not None:
                    made.bind(source_address)
                made.connect((host, address[1]))
                return made
            except OSError as error:
                failed = error
                made.close()
        raise failed or OSError(f"{address[0]} has no address")

    def create_server(self, address: Place, *, family: int = AF_INET, backlog: int = MOST_BACKLOG) -> NetSocket:
        """A socket that listens; host "" is any address, port 0 any free one. Raises OSError."""
        made = self.socket(family)
        try:
            made.bind(address)
            made.listen(backlog)
        except BaseException:
            made.close()
            raise
        return made

    def lookup(self, name: str, timeout: float | None = None) -> list[str]:
        """Addresses of a name. Raises socket.gaierror, OSError."""
        with as_os_error():
            return self.session.lookup(name, time_limit(timeout))

    def ping(self, host: str, size: int = 56, timeout: float | None = 5.0) -> float | None:
        """Seconds until the host's echo came, None if it did not in time. Raises OSError."""
        with as_os_error():
            taken = self.session.ping(host, size, time_limit(timeout))
        return None if taken < 0 else taken / 1e9

    def interfaces(self) -> list[InterfaceState]:
        """The stack's interfaces. Raises OSError."""
        with as_os_error():
            return self.session.interfaces()

    def close(self) -> None:
        """End the session with all its sockets, and take the memory back."""
        try:
            with as_os_error():
                self.session.close()
        finally:
            self._task.delete(endpoint_of(self.session))
            self._space.close()
            self._task.memory.free(self._pool.cptr)

    def __enter__(self) -> Net:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class NetSocket:
    """A socket. Made by `Net`; methods that are here do what those of `socket.socket` do."""

    def __init__(self, net: Net, number: int, family: int, type: int) -> None:
        self._net = net
        self._session = net.session
        self._number = number
        self._timeout: float | None = None
        self._limit = FOREVER
        self._files = 0
        self._closing = False
        self.family = family
        self.type = type

    # --- settings

    def settimeout(self, timeout: float | None) -> None:
        """Seconds for each call; 0 never waits, None has no limit."""
        self._timeout = timeout
        self._limit = time_limit(timeout)

    def gettimeout(self) -> float | None:
        return self._timeout

    def setblocking(self, blocking: bool) -> None:
        self.settimeout(None if blocking else 0.0)

    def setsockopt(self, level: int, option: int, value: object, length: int = 0) -> None:
        """TCP_NODELAY is set; the others that programs set out of habit change nothing."""
        if (level, option) == (host_socket.IPPROTO_TCP, host_socket.TCP_NODELAY):
            with as_os_error():
                self._session.set_prompt(self._number, bool(value))

    def fileno(self) -> int:
        """-1: it has no descriptor."""
        return -1

    @property
    def number(self) -> int:
        """Its number in the session. Raises OSError: it is closed."""
        if self._number < 0:
            raise OSError(errno.EBADF, "the socket is closed")
        return self._number

    # --- connections

    def bind(self, address: Place) -> None:
        with as_os_error():
            self._session.bind(self.number, address[0], address[1])

    def listen(self, backlog: int = MOST_BACKLOG) -> None:
        with as_os_error():
            self._session.listen(self.number, max(1, min(backlog, MOST_BACKLOG)))

    def accept(self) -> tuple[NetSocket, Place]:
        with as_os_error():
            accepted = self._session.accept(self.number, self._limit)
        if accepted.socket == AGAIN:
            raise self._late()
        return NetSocket(self._net, accepted.socket, self.family, self.type), _place(accepted.peer)

    def connect(self, address: Place) -> None:
        """Host is an address, or a name, of which the first address of the socket's family is taken."""
        host = address[0]
        if not host or not (host[0].isdigit() or ":" in host):
            host = next((each for each in self._net.lookup(host) if (":" in each) == (self.family == AF_INET6)), host)
        with as_os_error():
            done = self._session.connect(self.number, host, address[1], self._limit)
        if not done:
            raise (
                BlockingIOError(errno.EINPROGRESS, "the connection is being made") if self._limit == 0 else self._late()
            )

    def getsockname(self) -> Place:
        with as_os_error():
            return _place(self._session.ends(self.number)[0])

    def getpeername(self) -> Place:
        with as_os_error():
            peer = _place(self._session.ends(self.number)[1])
        if not peer[1]:
            raise OSError(errno.ENOTCONN, "the socket is not connected")
        return peer

    def shutdown(self, how: int) -> None:
        """SHUT_RD, SHUT_WR or SHUT_RDWR of the module `socket`."""
        which = {0: Shut.RECEIVE, 1: Shut.SEND, 2: Shut.RECEIVE | Shut.SEND}[how]
        with as_os_error():
            self._session.shutdown(self.number, which)

    # --- bytes

    def send(self, data: Buffer, flags: int = 0) -> int:
        with memoryview(data).cast("B") as view, as_os_error():
            return self._send(view[: self._net.window_bytes], _Until(self._limit))

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        until = _Until(self._limit)
        with memoryview(data).cast("B") as view, as_os_error():
            sent = 0
            while sent < len(view):
                sent += self._send(view[sent : sent + self._net.window_bytes], until)

    def _send(self, view: memoryview, until: _Until) -> int:
        while True:
            with self._net.window() as at:
                self._net.mapping.write(at, view)
                limit = until.left() if self._net.may_wait() else 0
                sent = self._session.send(self.number, len(view), at, limit)
            if sent != AGAIN:
                return sent
            self._wait_without_window(Events.WRITABLE, limit, until)

    def recv(self, size: int, flags: int = 0) -> bytes:
        until = _Until(self._limit)
        with as_os_error():
            while True:
                with self._net.window() as at:
                    limit = until.left() if self._net.may_wait() else 0
                    length = self._session.receive(self.number, min(size, self._net.window_bytes), at, limit)
                    if length != AGAIN:
                        return self._net.mapping.read(at, length)
                self._wait_without_window(Events.READABLE, limit, until)

    def recv_into(self, buffer: Buffer, size: int = 0, flags: int = 0) -> int:
        with memoryview(buffer).cast("B") as view:
            data = self.recv(size or len(view), flags)
            view[: len(data)] = data
            return len(data)

    def _wait_without_window(self, events: Events, limit: int, until: _Until) -> None:
        """Nothing was to be had in time. Raises OSError if that was all the time there is."""
        if limit or not until.left() or not self._session.wait(self.number, events, until.left()):
            raise self._late()

    def sendto(self, data: Buffer, *flags_and_address: Any) -> int:
        """``sendto(data, address)`` or ``sendto(data, flags, address)``."""
        host, port = flags_and_address[-1][:2]
        with memoryview(data).cast("B") as view, self._net.window() as at, as_os_error():
            self._net.mapping.write(at, view[: self._net.window_bytes])
            if not self._session.send_to(self.number, len(view), at, Address(host, port)):
                raise BlockingIOError(errno.EAGAIN, "there is no room for a datagram now")
            return len(view)

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Place]:
        until = _Until(self._limit)
        with as_os_error():
            while True:
                with self._net.window() as at:
                    limit = until.left() if self._net.may_wait() else 0
                    came = self._session.receive_from(self.number, min(size, self._net.window_bytes), at, limit)
                    if came.length != AGAIN:
                        return self._net.mapping.read(at, came.length), _place(came.peer)
                self._wait_without_window(Events.READABLE, limit, until)

    def _late(self) -> OSError:
        if self._limit == 0:
            return BlockingIOError(errno.EAGAIN, "nothing can be done now without waiting")
        return TimeoutError("timed out")

    # --- files, and the end

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """A file over the socket, as `socket.makefile`. The socket ends when it and its files are closed."""
        reads, writes = "r" in mode or not {"w"} & set(mode), "w" in mode
        raw = _SocketFile(self, reads, writes)
        if buffering == 0:
            if "b" not in mode:
                raise ValueError("unbuffered streams must be binary")
            return raw  # type: ignore[return-value]  # as `socket.makefile` does
        size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
        buffered: Any
        if reads and writes:
            buffered = io.BufferedRWPair(raw, raw, size)
        else:
            buffered = io.BufferedReader(raw, size) if reads else io.BufferedWriter(raw, size)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def close(self) -> None:
        """End it when its files are closed as well. Nothing happens the second time."""
        self._closing = True
        if is_collecting():
            self._net.leftovers.leave(self.close)
            return
        if not self._files and self._number >= 0:
            number, self._number = self._number, -1
            try:
                with as_os_error():
                    self._session.close_socket(number)
            except OSError:
                return  # it ended before: with its session, most often

    def _file_closed(self) -> None:
        self._files -= 1
        if self._closing:
            self.close()

    def _file_opened(self) -> None:
        self._files += 1

    def detach_number(self) -> int:
        """The number, which is the caller's from now on: closing this object does not end the socket."""
        number, self._number = self.number, -1
        return number

    def __enter__(self) -> NetSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _SocketFile(io.RawIOBase):
    """A socket as a raw file."""

    def __init__(self, sock: NetSocket, reads: bool, writes: bool) -> None:
        super().__init__()
        self._sock = sock
        self._reads = reads
        self._writes = writes
        sock._file_opened()

    def readable(self) -> bool:
        return self._reads

    def writable(self) -> bool:
        return self._writes

    def readinto(self, buffer: Buffer) -> int | None:
        try:
            return self._sock.recv_into(buffer)
        except BlockingIOError:
            return None

    def write(self, data: Buffer) -> int | None:
        if is_collecting():  # a buffered file was forgotten with bytes in it
            kept = bytes(data)
            self._sock._net.leftovers.leave(lambda: self._sock.sendall(kept))
            return len(kept)
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return None

    def fileno(self) -> int:
        raise io.UnsupportedOperation("a socket of the network server has no descriptor")

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._sock._file_closed()


class _Until:
    """A moment until which a call that is made of several has time."""

    def __init__(self, limit: int) -> None:
        self._end = limit if limit in (0, FOREVER) else time.monotonic_ns() + limit
        self._limit = limit

    def left(self) -> int:
        """Nanoseconds that are left; 0 if there are none, `FOREVER` if there is no end."""
        if self._limit in (0, FOREVER):
            return self._limit
        return max(0, self._end - time.monotonic_ns())


def time_limit(timeout: float | None) -> int:
    """Seconds as the interface's nanoseconds. Raises ValueError: negative."""
    if timeout is None:
        return FOREVER
    if timeout < 0:
        raise ValueError("a timeout is no less than 0 seconds")
    return min(int(timeout * 1e9), FOREVER)


def _place(address: Address) -> Place:
    return address.host, address.port


__all__ = ["Net", "NetSocket", "NetworkError"]
