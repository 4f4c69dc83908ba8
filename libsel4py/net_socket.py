"""`NetSocket`: a socket of the network server, with the methods of Python's own.

One that listens, and one for datagrams, is made again in the next session, by the call that finds itself in another
one; a connection is not, and its calls raise `ConnectionResetError`.
"""

from __future__ import annotations

import errno
import socket as host_socket
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from libsel4py.interfaces.network import (
    AGAIN,
    FOREVER,
    MOST_BACKLOG,
    MOST_HEARD,
    Address,
    Datagram,
    Events,
    Kind,
    Network,
    NetworkError,
    Shut,
)
from libsel4py.lowlevel.collecting import is_collecting
from libsel4py.net_errors import FAILURES, os_error
from libsel4py.net_files import open_file
from libsel4py.net_session import MOST_TRIES, Life, NetSession, time_limit

if TYPE_CHECKING:
    from typing_extensions import Buffer

Result = TypeVar("Result")

AF_INET: Final = host_socket.AF_INET
AF_INET6: Final = host_socket.AF_INET6
SOCK_STREAM: Final = host_socket.SOCK_STREAM
SOCK_DGRAM: Final = host_socket.SOCK_DGRAM
Place = tuple[str, int]
KINDS: Final[dict[int, Kind]] = {SOCK_STREAM: Kind.STREAM, SOCK_DGRAM: Kind.DATAGRAM}
VERSIONS: Final[dict[int, int]] = {AF_INET: 4, AF_INET6: 6}


class NetSocket:
    """A socket. Made by `Net`; methods that are here do what those of `socket.socket` do."""

    def __init__(self, net: NetSession, life: Life, number: int, family: int, type: int) -> None:
        self._net = net
        self._life = life
        self._number = number
        self._bound: Place | None = None
        self._peer: Place | None = None  # of one for datagrams
        self._heard: OrderedDict[Place, int] = OrderedDict()  # from whom datagrams came last, and in which generation
        self._backlog = 0  # of one that listens
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
            self._ask(lambda session, number: session.set_prompt(number, bool(value)))

    def fileno(self) -> int:
        """-1: it has no descriptor."""
        return -1

    @property
    def number(self) -> int:
        """Its number in the session. Raises OSError: it is closed."""
        if self._number < 0:
            raise OSError(errno.EBADF, "the socket is closed")
        self.ensure_here()
        return self._number

    def ensure_here(self) -> None:
        """Raises ConnectionResetError: its session is over."""
        if not self.is_here:
            raise _reset()

    @property
    def is_here(self) -> bool:
        """Whether its session is not over, as far as is known."""
        return self._life is self._net.life

    @property
    def comes_back(self) -> bool:
        """Whether it is made again in the next session: it listens, or is for datagrams."""
        return bool(self._backlog) or self.type == SOCK_DGRAM

    def as_reset(self, error: OSError) -> OSError:
        """What a call's error means: `ConnectionResetError` if the session is over; that there is no other, if so."""
        cause = error.__cause__ if isinstance(error.__cause__, NetworkError) else error
        try:
            return _reset() if self._net.is_over(cause, self._life.generation) else error
        except OSError as none:
            return none

    def _ask(self, act: Callable[[Network, int], Result]) -> Result:
        """Call the session with this socket's number, and again when it was made again. Raises OSError."""
        for left in reversed(range(MOST_TRIES)):
            seen = self._net.generation  # of the session in which it is made again, which may be over as well
            try:
                if self._life is not self._net.life:
                    self._return()
                seen = self._life.generation
                if self._number < 0:
                    raise OSError(errno.EBADF, "the socket is closed")
                return act(self._life.session, self._number)
            except FAILURES as error:
                if not left or not self._net.is_over(error, seen):
                    raise os_error(error) from error
        raise AssertionError("the last try has raised")

    def _return(self) -> None:
        """Be made again in the session that there is now. Raises ConnectionResetError: it is a connection."""
        with self._net.returning:
            life = self._net.life
            if self._number < 0 or self._life is life:
                return
            if not self.comes_back:
                raise _reset()
            number = life.session.socket(KINDS[self.type], VERSIONS[self.family])
            try:
                if self._bound is not None:
                    life.session.bind(number, *self._bound)
                if self._backlog:
                    life.session.listen(number, self._backlog)
                if self._peer is not None:
                    life.session.connect(number, *self._peer, 0)
            except NetworkError:
                life.session.close_socket(number)
                raise
            self._life, self._number = life, number

    # --- connections

    def bind(self, address: Place) -> None:
        port = self._ask(lambda session, number: session.bind(number, address[0], address[1]))
        self._bound = address[0], port

    def listen(self, backlog: int = MOST_BACKLOG) -> None:
        backlog = max(1, min(backlog, MOST_BACKLOG))
        self._ask(lambda session, number: session.listen(number, backlog))
        if self._bound is None:
            self._bound = "", self.getsockname()[1]
        self._backlog = backlog

    def accept(self) -> tuple[NetSocket, Place]:
        """The next connection. Who waits goes on waiting at the server's next life."""
        until = _Until(self._limit)
        life, accepted = self._ask(lambda session, number: (self._life, session.accept(number, until.left())))
        if accepted.socket == AGAIN:
            raise self._late()
        return NetSocket(self._net, life, accepted.socket, self.family, self.type), _place(accepted.peer)

    def connect(self, address: Place) -> None:
        """Host is an address, or a name, of which the first address of the socket's family is taken."""
        host = address[0]
        if not host or not (host[0].isdigit() or ":" in host):
            host = next((each for each in self._net.lookup(host) if (":" in each) == (self.family == AF_INET6)), host)
        done = self._ask(lambda session, number: session.connect(number, host, address[1], self._limit))
        if self.type == SOCK_DGRAM:
            self._peer = host, address[1]
        if not done:
            raise (
                BlockingIOError(errno.EINPROGRESS, "the connection is being made") if self._limit == 0 else self._late()
            )

    def getsockname(self) -> Place:
        return _place(self._ask(lambda session, number: session.ends(number))[0])

    def getpeername(self) -> Place:
        peer = _place(self._ask(lambda session, number: session.ends(number))[1])
        if not peer[1]:
            raise OSError(errno.ENOTCONN, "the socket is not connected")
        return peer

    def shutdown(self, how: int) -> None:
        """SHUT_RD, SHUT_WR or SHUT_RDWR of the module `socket`."""
        which = {0: Shut.RECEIVE, 1: Shut.SEND, 2: Shut.RECEIVE | Shut.SEND}[how]
        self._ask(lambda session, number: session.shutdown(number, which))

    # --- bytes

    def send(self, data: Buffer, flags: int = 0) -> int:
        with memoryview(data).cast("B") as view:
            return self._send(view[: self._net.window_bytes], _Until(self._limit))

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        until = _Until(self._limit)
        with memoryview(data).cast("B") as view:
            sent = 0
            while sent < len(view):
                sent += self._send(view[sent : sent + self._net.window_bytes], until)

    def _send(self, view: memoryview, until: _Until) -> int:
        while True:
            with self._net.window() as at:
                self._net.mapping.write(at, view)
                limit = until.left() if self._net.may_wait() else 0
                sent = self._ask(_send(len(view), at, limit))
            if sent != AGAIN:
                return sent
            self._wait_without_window(Events.WRITABLE, limit, until)

    def recv(self, size: int, flags: int = 0) -> bytes:
        until = _Until(self._limit)
        size = min(size, self._net.window_bytes)
        while True:
            with self._net.window() as at:
                limit = until.left() if self._net.may_wait() else 0
                length = self._ask(_receive(size, at, limit))
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
        if limit or not until.left():
            raise self._late()
        if not self._ask(lambda session, number: session.wait(number, events, until.left())):
            raise self._late()

    def sendto(self, data: Buffer, *flags_and_address: Any) -> int:
        """``sendto(data, address)`` or ``sendto(data, flags, address)``.

        An answer to whom only a former life of the server has heard is lost if no rule permits to send there unasked.
        """
        to = Address(*flags_and_address[-1][:2])
        with memoryview(data).cast("B") as view, self._net.window() as at:
            self._net.mapping.write(at, view[: self._net.window_bytes])
            heard_by = self._heard.get(_place(to))  # before it is asked: another thread may hear from there meanwhile
            try:
                sent = self._ask(lambda session, number: session.send_to(number, len(view), at, to))
            except PermissionError:
                if heard_by is None or heard_by == self._life.generation:
                    raise
                sent = True
            if not sent:
                raise BlockingIOError(errno.EAGAIN, "there is no room for a datagram now")
            return len(view)

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Place]:
        until = _Until(self._limit)
        size = min(size, self._net.window_bytes)
        while True:
            with self._net.window() as at:
                limit = until.left() if self._net.may_wait() else 0
                life, came = self._receive_from(size, at, limit)
                if came.length != AGAIN:
                    peer = _place(came.peer)
                    self._note_heard(peer, life.generation)
                    return self._net.mapping.read(at, came.length), peer
            self._wait_without_window(Events.READABLE, limit, until)

    def _receive_from(self, size: int, at: int, limit: int) -> tuple[Life, Datagram]:
        """A datagram, and whose session it came by."""
        return self._ask(lambda session, number: (self._life, session.receive_from(number, size, at, limit)))

    def _note_heard(self, peer: Place, generation: int) -> None:
        self._heard[peer] = generation
        with suppress(KeyError):  # another thread has noted so many meanwhile that this one is not there any more
            self._heard.move_to_end(peer)
        if len(self._heard) > MOST_HEARD:
            self._heard.popitem(last=False)

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
        return open_file(self, mode, buffering, encoding, errors, newline)

    def close(self) -> None:
        """End it when its files are closed as well. Nothing happens the second time."""
        self._closing = True
        if is_collecting():
            self._net.leftovers.leave(self.close)
            return
        if not self._files and self._number >= 0:
            number, self._number = self._number, -1
            if not self.is_here:
                return
            try:
                self._life.session.close_socket(number)
            except FAILURES:
                return  # it ended before: with its session, most often

    def send_later(self, data: bytes) -> None:
        """Send bytes of a file that is being collected, where no call may be made."""
        self._net.leftovers.leave(lambda: self.sendall(data))

    def file_closed(self) -> None:
        self._files -= 1
        if self._closing:
            self.close()

    def file_opened(self) -> None:
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


def _send(size: int, at: int, limit: int) -> Callable[[Network, int], int]:
    return lambda session, number: session.send(number, size, at, limit)


def _receive(size: int, at: int, limit: int) -> Callable[[Network, int], int]:
    return lambda session, number: session.receive(number, size, at, limit)


def _reset() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "the network server was started again")


def _place(address: Address) -> Place:
    return address.host, address.port
