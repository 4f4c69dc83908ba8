"""A socket as its session has it: what waits for it, and what is told of it.

Rules: whoever waits is served in the order in which it asked. A waiter is an attempt that is made again when something
has happened at the socket, until it gives a value, raises, or its time is over. Nothing waits for a socket that ends.
A datagram of somebody whom the socket may not hear is as if it had not come: no event tells of it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from libsel4py.context import ReplyToken
from libsel4py.interfaces.network import (
    MOST_HEARD,
    Accepted,
    Address,
    Closed,
    Datagram,
    Events,
    Kind,
    NetworkError,
    StaleSocket,
)
from libsel4py.mapping import Mapping
from servers.network.rules import Transport
from servers.network.timers import Timer, Timers

if TYPE_CHECKING:
    from servers.network.protocols import DatagramSocket, StackSocket, StreamSocket
    from servers.network.sessions import NetworkSession

NOT_YET: Final = object()  # what an attempt gives that has to be made again
_log = logging.getLogger(__name__)
TRANSPORTS: Final = {Kind.STREAM: Transport.TCP, Kind.DATAGRAM: Transport.UDP}
Attempt = Callable[[], object]


@dataclass(slots=True, eq=False)
class Waiter:
    """Who waits. ``late`` gives the answer when its time is over."""

    token: ReplyToken
    attempt: Attempt
    late: Attempt
    timer: Timer | None = None


class NetSocket:
    """One socket.

    Attributes:
        badge: of its capability, or 0 while it has none. listens: connections are accepted by it.
        heard: from whom datagrams came last: they may be answered. may_hear: whether one from this end may come;
        none may until whoever knows the rules says so.
    """

    def __init__(self, session: NetworkSession, number: int, kind: Kind, version: int, raw: StackSocket) -> None:
        self.session = session
        self.number = number
        self.kind = kind
        self.version = version
        self.badge = 0
        self.listens = False
        self.heard: dict[tuple[str, int], None] = {}
        self.may_hear: Callable[[str, int], bool] = lambda host, port: False
        self.raw = raw
        self._came: tuple[bytes, str, int] | None = None
        self._armed = Events.NONE
        self._waiters: deque[Waiter] = deque()
        self._ended = False

    @property
    def transport(self) -> Transport:
        return TRANSPORTS[self.kind]

    @property
    def stream(self) -> StreamSocket:
        """It as a stream socket. Raises StaleSocket: it is none."""
        if self.kind is not Kind.STREAM:
            raise StaleSocket("this is done with stream sockets, and the socket is one for datagrams")
        return cast("StreamSocket", self.raw)

    @property
    def datagrams(self) -> DatagramSocket:
        """It as a datagram socket. Raises StaleSocket."""
        if self.kind is not Kind.DATAGRAM:
            raise StaleSocket("this is done with datagram sockets, and the socket is a stream's")
        return cast("DatagramSocket", self.raw)

    # --- what is there

    def events(self) -> Events:
        """What could be done now without waiting."""
        raw, found = self.raw, Events.NONE
        if self._is_readable():
            found |= Events.READABLE
        if raw.writable:
            found |= Events.WRITABLE
        if raw.error is not None:
            found |= Events.ERROR
        if raw.closed:
            found |= Events.CLOSED
        return found

    def _is_readable(self) -> bool:
        if self.kind is Kind.STREAM:
            return self.raw.readable
        if self._came is None and self.raw.readable:
            self._came = self._next_datagram()
        return self._came is not None

    def _next_datagram(self) -> tuple[bytes, str, int] | None:
        """The next one of those that it may hear; the others are dropped."""
        came, self._came = self._came, None
        while came is None and (found := self.datagrams.recv_from()) is not None:
            end = found[1:]
            if end in self.heard or self.may_hear(*end):
                came = found
        return came

    def try_wait(self, wanted: Events) -> object:
        """The events of these that are there (and CLOSED with them, where it is so), or `NOT_YET`."""
        there = self.events()
        found = there & (wanted | Events.ERROR)
        return int(found | (there & Events.CLOSED)) if found else NOT_YET

    def try_accept(self) -> object:
        if self.raw.readable:
            self.session.ensure_room()  # who has none is told, and the connection waits
        raw = self.stream.accept()
        if raw is None:
            if self.raw.error is not None:
                raise self.raw.error
            return NOT_YET
        accepted = self.session.adopt(Kind.STREAM, self.version, raw)
        return Accepted(accepted.number, Address(*raw.peer))

    def try_connected(self) -> object:
        if self.raw.error is not None:
            raise self.raw.error
        return True if self.raw.writable else NOT_YET

    def try_send(self, data: bytes) -> object:
        sent = self.raw.send(data)
        return sent if sent or not data else NOT_YET

    def try_receive(self, length: int) -> bytes | None:
        """Bytes that came, b"" at the end; None if there is nothing now."""
        if self.kind is Kind.STREAM:
            return self.stream.recv(length)
        datagram = self._next_datagram()
        return None if datagram is None else datagram[0][:length]

    def try_receive_to(self, mapping: Mapping, at: int, length: int) -> object:
        data = self.try_receive(length)
        if data is None:
            return NOT_YET
        self.session.put(mapping, at, data)
        return len(data)

    def try_receive_from(self, mapping: Mapping, at: int, length: int) -> object:
        datagram = self._next_datagram()
        if datagram is None:
            if self.raw.error is not None:
                raise self.raw.error
            return NOT_YET
        data, host, port = datagram
        self.heard.pop((host, port), None)
        self.heard[host, port] = None
        if len(self.heard) > MOST_HEARD:
            del self.heard[next(iter(self.heard))]
        self.session.put(mapping, at, data[:length])
        return Datagram(min(len(data), length), Address(host, port), len(data) > length)

    # --- who waits

    def make_waiter(
        self, token: ReplyToken, attempt: Attempt, late: Attempt, when: float | None, timers: Timers
    ) -> None:
        """Let a caller wait until the attempt gives something, or a moment has come."""
        waiter = Waiter(token, attempt, late)
        if when is not None:
            waiter.timer = timers.at(when, lambda: self._too_late(waiter))
        self._waiters.append(waiter)
        self.session.waits(1)

    def changed(self, timers: Timers) -> None:
        """Something happened: let those go on who can, and tell of what was asked for."""
        waiters, self._waiters = self._waiters, deque()
        while waiters:
            waiter = waiters.popleft()
            try:
                value = waiter.attempt()
            except Exception as error:  # whatever it is, it belongs to the one who waits
                if not isinstance(error, NetworkError):
                    _log.exception("what %s waited for raised", waiter.token.caller.name)
                self._done(waiter, timers)
                waiter.token.fail(error)
                continue
            if value is NOT_YET:
                self._waiters.append(waiter)
            else:
                self._done(waiter, timers)
                waiter.token.complete(value)
        if self._armed:
            self._tell()

    def _done(self, waiter: Waiter, timers: Timers) -> None:
        self.session.waits(-1)
        if waiter.timer is not None:
            timers.cancel(waiter.timer)

    def _too_late(self, waiter: Waiter) -> None:
        self._waiters.remove(waiter)
        self.session.waits(-1)
        waiter.token.complete(waiter.late())

    # --- who is told

    def arm(self, events: Events) -> None:
        """Tell the session once, when one of these is there."""
        self._armed = events
        if events:
            self._tell()

    def _tell(self) -> None:
        found = self.try_wait(self._armed)
        if found is not NOT_YET:
            self._armed = Events.NONE
            self.session.tell(self.number, cast(int, found))

    # --- its end

    def end(self, timers: Timers, *, abort: bool) -> None:
        """It is no more; who waits is told so."""
        if self._ended:
            return
        self._ended = True
        self.raw.on_event = None
        self._armed = Events.NONE
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            self._done(waiter, timers)
            waiter.token.fail(StaleSocket("the socket was closed"))
        if abort:
            self.raw.abort()
        else:
            self.raw.close()


def ensure_sends(sock: NetSocket) -> None:
    """Raises what keeps it from sending."""
    if sock.raw.error is not None:
        raise sock.raw.error
    if sock.listens:
        raise Closed("a socket that listens sends nothing: send by those that it accepts")
