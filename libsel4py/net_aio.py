"""asyncio streams over the network server, on the event loops of `libsel4py.aio`.

    async def main(net: Net) -> None:
        async with AsyncNet(net) as network:
            reader, writer = await network.open_connection("example.org", 80)
            server = await network.start_server(handle, "", 8080)      # handle(reader, writer), as in asyncio

The streams are asyncio's own, above a transport of this module. The event loop waits for no socket: the server signals
a bell when something can be done, and one of the task's further threads waits for that (``threads = 1`` or more in the
system description). Calls that the loop makes never wait.

Rules: all but that wait happens on the loop's thread. A socket is asked for until nothing is there, `MOST_TURNS` times
at most, so that others have their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final

from libsel4py import aio
from libsel4py.bell import Bell
from libsel4py.errors import ServiceError
from libsel4py.interfaces.network import AGAIN, MOST_BACKLOG, Events, Shut
from libsel4py.net_errors import as_os_error
from libsel4py.sockets import AF_INET, AF_INET6, Net, NetSocket

MOST_TURNS: Final = 4
HIGH_WATER: Final = 256 << 10  # bytes that are not sent yet, at which a writer is told to pause
LIMIT: Final = 64 << 10  # of a stream reader's buffer
Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


class AsyncNet:
    """A session's sockets on the running event loop. An asynchronous context manager."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.session = net.session
        self._handlers: dict[int, Callable[[Events], None]] = {}
        self._bell = Bell.allocate()
        self._waits: asyncio.Task[None] | None = None

    async def __aenter__(self) -> AsyncNet:
        with as_os_error():
            self.session.watch(self._bell.peer)
        self._waits = asyncio.get_running_loop().create_task(self._wait())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        waits, self._waits = self._waits, None
        if waits is not None:
            self._bell.peer.signal()  # the thread that waits returns
            await waits
        self._bell.close()

    async def open_connection(
        self, host: str, port: int, *, limit: int = LIMIT
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As `asyncio.open_connection`. Raises OSError, socket.gaierror."""
        failed: OSError | None = None
        for each in await aio.call(self.net.lookup, host):
            sock = self.net.socket(AF_INET6 if ":" in each else AF_INET)
            try:
                await self._connect(sock, each, port)
            except OSError as error:
                failed = error
                sock.close()
                continue
            reader = asyncio.StreamReader(limit=limit)
            protocol = asyncio.StreamReaderProtocol(reader)
            transport = NetTransport(self, sock, protocol)
            return reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
        raise failed or OSError(f"{host} has no address")

    async def start_server(
        self, connected: Connected, host: str, port: int, *, backlog: int = MOST_BACKLOG, limit: int = LIMIT
    ) -> NetServer:
        """As `asyncio.start_server`; it serves from now on. Raises OSError."""
        return NetServer(self, self.net.create_server((host, port), backlog=backlog), connected, limit)

    async def _connect(self, sock: NetSocket, host: str, port: int) -> None:
        with as_os_error():
            if self.session.connect(sock.number, host, port, 0):
                return
            ready: asyncio.Future[Events] = asyncio.get_running_loop().create_future()
            self.arm(sock.number, Events.WRITABLE, ready.set_result)
            try:
                events = await ready
            finally:
                self.forget(sock.number)
            if events & Events.ERROR:
                self.session.connect(sock.number, host, port, 0)  # it raises what has happened
                raise OSError(f"no connection to {host} port {port}")

    # --- what transports use

    def arm(self, number: int, events: Events, handler: Callable[[Events], object]) -> None:
        """Call a handler once, when one of these is there. Raises NetworkError."""
        self._handlers[number] = handler  # type: ignore[assignment]  # what it returns is dropped
        self.session.arm(number, events)

    def forget(self, number: int) -> None:
        """A socket ends."""
        self._handlers.pop(number, None)

    async def _wait(self) -> None:
        while self._waits is not None:
            with contextlib.suppress(ServiceError):  # the session is over: each transport finds that out
                for ready in self.session.ready():
                    handler = self._handlers.pop(ready.socket, None)
                    if handler is not None:
                        handler(Events(ready.events))
            await aio.call(self._bell.wait)


class NetTransport(asyncio.Transport):
    """A stream socket as asyncio's protocols use one."""

    def __init__(self, network: AsyncNet, sock: NetSocket, protocol: asyncio.BaseProtocol) -> None:
        super().__init__({"peername": sock.getpeername(), "sockname": sock.getsockname()})
        self._loop = asyncio.get_running_loop()
        self._network = network
        self._session = network.session
        self._sock = sock
        self._number = sock.number
        self._protocol: Any = protocol  # of which kind, asyncio does not say either
        self._unsent = bytearray()
        self._high_water = HIGH_WATER
        self._paused = self._told_to_pause = self._eof = self._closing = self._lost = self._at_end = False
        self._loop.call_soon(protocol.connection_made, self)
        self._loop.call_soon(self._rearm)

    # --- reading

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True
        self._rearm()

    def resume_reading(self) -> None:
        self._paused = False
        self._rearm()

    def _rearm(self) -> None:
        if self._lost:
            return
        wanted = Events.NONE
        if self.is_reading() and not self._at_end:
            wanted |= Events.READABLE
        if self._unsent:
            wanted |= Events.WRITABLE
        if wanted:
            self._guarded(lambda: self._network.arm(self._number, wanted, self._happened))
        else:
            self._network.forget(self._number)

    def _happened(self, events: Events) -> None:
        if events & (Events.READABLE | Events.ERROR | Events.CLOSED) and self.is_reading():
            self._guarded(self._read)
        if events & (Events.WRITABLE | Events.ERROR) and self._unsent and not self._lost:
            self._guarded(self._send)
        self._rearm()

    def _read(self) -> None:
        with self._network.net.window() as at:
            for _ in range(MOST_TURNS):
                if not self.is_reading():
                    return
                length = self._session.receive(self._number, self._network.net.window_bytes, at, 0)
                if length == AGAIN:
                    return
                if not length:
                    self._at_end = True
                    if not self._protocol.eof_received():
                        self.close()
                    return
                self._protocol.data_received(self._network.net.mapping.read(at, length))

    # --- writing

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._eof or self._closing:
            raise RuntimeError("the transport was closed, or its end was written")
        had = bool(self._unsent)
        self._unsent += data
        if not had:
            self._guarded(self._send)
            if self._unsent:
                self._rearm()
        if len(self._unsent) > self._high_water and not self._told_to_pause:
            self._told_to_pause = True
            self._protocol.pause_writing()

    def _send(self) -> None:
        with self._network.net.window() as at:
            while self._unsent:
                part = bytes(self._unsent[: self._network.net.window_bytes])
                self._network.net.mapping.write(at, part)
                sent = self._session.send(self._number, len(part), at, 0)
                if sent == AGAIN:
                    break
                del self._unsent[:sent]
        if self._told_to_pause and len(self._unsent) <= self._high_water // 4:
            self._told_to_pause = False
            self._protocol.resume_writing()
        if not self._unsent:
            if self._closing:
                self._end(None)
            elif self._eof:
                self._session.shutdown(self._number, Shut.SEND)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._eof and not self._closing:
            self._eof = True
            if not self._unsent:
                self._guarded(lambda: self._session.shutdown(self._number, Shut.SEND))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high_water = HIGH_WATER if high is None else high

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    # --- the end

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self._unsent:
                self._end(None)
            else:
                self._rearm()

    def abort(self) -> None:
        self._closing = True
        self._end(None)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            with as_os_error():
                work()
        except OSError as error:
            self._closing = True
            self._end(error)

    def _end(self, error: OSError | None) -> None:
        if not self._lost:
            self._lost = True
            self._unsent.clear()
            self._network.forget(self._number)
            self._sock.close()
            self._loop.call_soon(self._protocol.connection_lost, error)


class NetServer:
    """A socket that listens on the event loop. An asynchronous context manager."""

    def __init__(self, network: AsyncNet, listener: NetSocket, connected: Connected, limit: int) -> None:
        self._network = network
        self._listener = listener
        self._connected = connected
        self._limit = limit
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        listener.settimeout(0)
        self._accept(Events.READABLE)

    def getsockname(self) -> tuple[str, int]:
        """Where it listens."""
        return self._listener.getsockname()

    def _accept(self, events: Events) -> None:
        if self._closed.done():
            return
        for _ in range(MOST_TURNS):
            try:
                accepted, _peer = self._listener.accept()
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            reader = asyncio.StreamReader(limit=self._limit)
            protocol = asyncio.StreamReaderProtocol(reader, self._connected)
            try:
                NetTransport(self._network, accepted, protocol)
            except OSError:  # it has ended already
                accepted.close()
        self._network.arm(self._listener.number, Events.READABLE, self._accept)

    def close(self) -> None:
        """Accept no more."""
        if not self._closed.done():
            self._closed.set_result(None)
            number = self._listener.number
            self._network.forget(number)
            self._listener.close()

    async def serve_forever(self) -> None:
        """Return when it is closed."""
        await self._closed

    async def __aenter__(self) -> NetServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


__all__ = ["AsyncNet", "NetServer", "NetTransport"]
