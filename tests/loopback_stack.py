"""A TCP/IP stack of one machine that speaks to itself only: what the network server's tests serve.

Streams have `WINDOW` bytes of room at the receiver. Nothing is due by itself: `poll` moves nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from libsel4py.interfaces.network import (
    AddressInUse,
    Closed,
    InterfaceState,
    IsConnected,
    NameUnknown,
    NetworkError,
    NotConnected,
    Refused,
    Reset,
)

WINDOW: Final = 8192
ANY: Final = ("0.0.0.0", "::")
HOSTS: Final = {4: "127.0.0.1", 6: "::1"}


class Loopback:
    """The stack."""

    def __init__(self) -> None:
        self.ports: dict[tuple[type, int, int], Any] = {}  # by kind, IP version and port
        self.next_port = 49152
        self.names = {"here.example": ["127.0.0.1"]}
        self.unanswered: list[Callable[[], None]] = []
        self.asked: list[Callable[[list[str] | NetworkError], None]] = []  # for "silent.example", not answered yet
        self.answers_pings = True
        self.pending: list[Callable[[], None]] = []

    def stream(self, version: int, /) -> Stream:
        return Stream(self, version)

    def datagrams(self, version: int, /) -> Datagrams:
        return Datagrams(self, version)

    def input(self, frame: object, /) -> None:
        raise AssertionError("no frames come here")

    def poll(self) -> float | None:
        return None

    def resolve(self, name: str, done: Callable[[list[str] | NetworkError], None], /) -> None:
        if name == "silent.example":
            self.asked.append(done)
        else:
            done(self.names.get(name) or NameUnknown(f"no such name: {name}"))

    def ping(self, host: str, size: int, done: Callable[[], None], /) -> Callable[[], None]:
        if self.answers_pings:
            done()
        return lambda: None

    def interfaces(self) -> list[InterfaceState]:
        return [InterfaceState("lo0", "", 65535, True, ["127.0.0.1/8"], [], [])]

    def take_port(self, sock: Any, port: int) -> int:
        if not port:
            port, self.next_port = self.next_port, self.next_port + 1
        if (type(sock), sock.version, port) in self.ports:
            raise AddressInUse(f"port {port} is taken")
        self.ports[type(sock), sock.version, port] = sock
        return port


class _Socket:
    def __init__(self, stack: Loopback, version: int) -> None:
        self.stack = stack
        self.version = version
        self.on_event: Callable[[Any], None] | None = None
        self.error: NetworkError | None = None
        self.local = ("", 0)
        self.peer = ("", 0)

    def tell(self) -> None:
        if self.on_event is not None:
            self.on_event(self)

    def bind(self, host: str, port: int, /) -> None:
        self.local = (HOSTS[self.version] if host in ANY else host, self.stack.take_port(self, port))

    def leave(self) -> None:
        key = type(self), self.version, self.local[1]
        if self.stack.ports.get(key) is self:
            del self.stack.ports[key]


class Stream(_Socket):
    """TCP."""

    def __init__(self, stack: Loopback, version: int) -> None:
        super().__init__(stack, version)
        self.other: Stream | None = None
        self.came = bytearray()
        self.ended = False
        self.sends = True
        self.backlog: deque[Stream] | None = None
        self.prompt = False

    @property
    def readable(self) -> bool:
        return bool(self.backlog) if self.backlog is not None else bool(self.came) or self.ended or bool(self.error)

    @property
    def writable(self) -> bool:
        return self.other is not None and len(self.other.came) < WINDOW

    @property
    def closed(self) -> bool:
        return self.ended

    def listen(self, backlog: int, /) -> None:
        if not self.local[1]:
            self.bind("0.0.0.0", 0)
        self.backlog = deque(maxlen=backlog)

    def accept(self) -> Stream | None:
        return self.backlog.popleft() if self.backlog else None

    def connect(self, host: str, port: int, /) -> None:
        if self.other is not None:
            raise IsConnected("it is connected")
        listener = self.stack.ports.get((Stream, self.version, port))
        if listener is None or listener.backlog is None:
            self.error = Refused(f"nobody listens on {host} port {port}")
            self.tell()
            return
        if not self.local[1]:
            self.bind("0.0.0.0", 0)
        made = Stream(self.stack, self.version)
        made.local, made.peer, made.other = (host, port), self.local, self
        self.peer, self.other = (host, port), made
        listener.backlog.append(made)
        listener.tell()
        self.tell()

    def send(self, data: bytes, /) -> int:
        if self.error is not None:
            raise self.error
        if not self.sends:
            raise Closed("this direction was shut down")
        if self.other is None:
            raise NotConnected("it is not connected")
        part = data[: WINDOW - len(self.other.came)]
        self.other.came += part
        self.other.tell()
        return len(part)

    def recv(self, length: int, /) -> bytes | None:
        if self.came:
            data = bytes(self.came[:length])
            del self.came[:length]
            if self.other is not None:
                self.other.tell()
            return data
        if self.error is not None:
            raise self.error
        if self.other is None and not self.ended:
            raise NotConnected("it is not connected")
        return b"" if self.ended else None

    def shutdown(self, receive: bool, send: bool, /) -> None:
        if send and self.other is not None:
            self.sends = False
            self.other.ended = True
            self.other.tell()

    def set_prompt(self, prompt: bool, /) -> None:
        self.prompt = prompt

    def close(self) -> None:
        self.shutdown(False, True)
        self.leave()

    def abort(self) -> None:
        if self.other is not None:
            self.other.error = Reset("the other side broke off")
            self.other.tell()
        self.leave()


class Datagrams(_Socket):
    """UDP."""

    def __init__(self, stack: Loopback, version: int) -> None:
        super().__init__(stack, version)
        self.came: deque[tuple[bytes, str, int]] = deque()
        self.closed = False

    @property
    def readable(self) -> bool:
        return bool(self.came)

    @property
    def writable(self) -> bool:
        return True

    def connect(self, host: str, port: int, /) -> None:
        self.peer = (host, port)

    def send(self, data: bytes, /) -> int:
        if not self.peer[1]:
            raise NotConnected("it has no other side")
        return self.send_to(data, *self.peer)

    def send_to(self, data: bytes, host: str, port: int, /) -> int:
        if not self.local[1]:
            self.bind("0.0.0.0", 0)
        target = self.stack.ports.get((Datagrams, self.version, port))
        if target is not None:
            target.came.append((data, *self.local))
            target.tell()
        return len(data)

    def recv_from(self) -> tuple[bytes, str, int] | None:
        return self.came.popleft() if self.came else None

    def close(self) -> None:
        self.leave()

    def abort(self) -> None:
        self.leave()
