"""asyncio streams over the network server, on the event loops of `libsel4py.aio`.

    async def main(net: Net) -> None:
        async with AsyncNet(net) as network:
            reader, writer = await network.open_connection("example.org", 80)
            server = await network.start_server(handle, "", 8080)      # handle(reader, writer), as in asyncio

The streams are asyncio's own, above a transport of this module. The event loop waits for no socket: the server signals
a bell when something can be done, and one of the task's further threads waits for that (``threads = 1`` or more in the
system description). Calls that the loop makes never wait.

When the network server ends, which rings the same bell (`DeathNotice`), connections end with `ConnectionResetError`,
and what listens goes on at the server's next life.

Rules: all but that wait happens on the loop's thread. A socket is asked for until nothing is there, `MOST_TURNS` times
at most, so that others have their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final

from libsel4py import aio
from libsel4py.abi import ObjectType
from libsel4py.bell import Bell
from libsel4py.capabilities import DeathNotice
from libsel4py.errors import InvalidCapability, ServerDied, ServiceError
from libsel4py.interfaces.network import MOST_BACKLOG, Events, Network, Ready, StaleSocket
from libsel4py.net_errors import as_os_error
from libsel4py.net_transport import MOST_TURNS, NetTransport
from libsel4py.sockets import AF_INET, AF_INET6, Net, NetSocket
from libsel4py.task import current_task

LOOK_SECONDS: Final = 1.0  # until a session is asked for again that was refused, or a socket that there was none for
SHORT: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
LIMIT: Final = 64 << 10  # of a stream reader's buffer
_log = logging.getLogger(__name__)
Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


class AsyncNet:
    """A session's sockets on the running event loop. An asynchronous context manager."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self._task = current_task()
        self._watched: Network | None = None
        self._handlers: dict[int, Callable[[Events], None]] = {}
        self._bell = Bell.allocate(self._task)
        self._notice = DeathNotice(self._task.memory.allocate(ObjectType.DEATH_NOTICE).start)
        self._doubts = asyncio.Event()
        self._short: list[Callable[[], None]] = []
        self._waits: asyncio.Task[None] | None = None
        self._looks: asyncio.Task[None] | None = None

    @property
    def session(self) -> Network:
        """The session's client."""
        return self.net.session

    async def __aenter__(self) -> AsyncNet:
        try:
            self.net.ask(self._watch)
        except BaseException:
            self._free()
            raise
        self._waits = asyncio.get_running_loop().create_task(self._wait())
        self._looks = asyncio.get_running_loop().create_task(self._look())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._looks is not None:
            self._looks.cancel()
        waits, self._waits = self._waits, None
        if waits is not None:
            self._bell.peer.signal()  # the thread that waits returns
            await waits
        self._free()

    def _free(self) -> None:
        self._task.memory.free(self._notice.cptr)
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
                self.doubt()
                failed = sock.as_reset(error)
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
        """As `asyncio.start_server`; it serves from now on. Host "" is any address, of IPv4 and of IPv6: port 0 is then
        any that is free in both. Raises OSError."""
        listeners = self.net.create_servers((host, port), backlog=backlog)
        servers = [NetServer(self, each, connected, limit) for each in listeners]
        servers[0].others = servers[1:]
        return servers[0]

    async def _connect(self, sock: NetSocket, host: str, port: int) -> None:
        with as_os_error():
            if self.session.connect(sock.number, host, port, 0):
                return
            ready: asyncio.Future[Events] = asyncio.get_running_loop().create_future()
            number = sock.number
            self.arm(sock, Events.WRITABLE, ready.set_result)
            try:
                events = await ready
            finally:
                if sock.is_here:  # or the number is another one's, in the next session
                    self.forget(number)
            if events & Events.ERROR:
                self.session.connect(sock.number, host, port, 0)  # it raises what has happened
                raise OSError(f"no connection to {host} port {port}")

    async def _look(self) -> None:
        patience: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._doubts.wait(), patience)
            self._doubts.clear()
            try:
                self.net.renew(self.net.generation)  # here: the further thread, if it is one, waits for the bell
                self.follow()
                patience = None
            except OSError:
                patience = LOOK_SECONDS

    def follow(self) -> None:
        """If there is another session by now, let all sockets of the former one find out. Raises OSError."""
        if self._watched is self.session:
            return
        self.net.ask(self._watch)
        handlers, self._handlers = self._handlers, {}
        for handler in handlers.values():
            handler(Events.ERROR)

    def _watch(self, session: Network) -> None:
        """Have the bell rung by a session, and at its server's end. Raises NetworkError, ServerDied."""
        session.watch(self._bell.peer)
        life = session.life()
        try:
            self._notice.cancel()
            self._notice.watch(life, self._bell.peer)
        except InvalidCapability as error:
            raise ServerDied("the network server has ended since") from error
        finally:
            self._task.delete(life)
        self._watched = session

    # --- what transports use

    def doubt(self) -> None:
        """Something has failed: look at once whether it was the session."""
        self._doubts.set()

    def arm(self, sock: NetSocket, events: Events, handler: Callable[[Events], object]) -> None:
        """Call a handler once, when one of these is there. Raises OSError, and ConnectionResetError: it is over."""
        self.follow()
        number = sock.number
        self._handlers[number] = handler  # type: ignore[assignment]  # what it returns is dropped
        with as_os_error():
            self.session.arm(number, events)

    def forget(self, number: int) -> None:
        """Nothing is waited for at a socket any more."""
        self._handlers.pop(number, None)

    def closed(self) -> None:
        """A socket was closed: there is room for another one."""
        waiting, self._short = self._short, []
        for handler in waiting:
            asyncio.get_running_loop().call_soon(handler)

    def when_spare(self, handler: Callable[[], None]) -> None:
        """Call a handler when there may be room for a socket again; other sessions tell nobody of theirs."""
        self._short.append(handler)
        asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_for_room, handler)

    def _look_for_room(self, handler: Callable[[], None]) -> None:
        if handler in self._short:
            self._short.remove(handler)
            handler()

    async def _wait(self) -> None:
        while self._waits is not None:
            if self._watched is not self.session:  # a call of another thread has opened it
                self.doubt()
            for ready in self._ready():
                handler = self._handlers.pop(ready.socket, None)
                if handler is not None:
                    handler(Events(ready.events))
            await aio.call(self._bell.wait)

    def _ready(self) -> list[Ready]:
        try:
            return self.session.ready()
        except (
            ServiceError,
            ServerDied,
            InvalidCapability,
        ):  # the session is over: each socket is told so when it is looked for
            self.doubt()
            return []


class NetServer:
    """A socket that listens on the event loop. An asynchronous context manager.

    Attributes:
        others: that listen for the same handler, and end with this one.
    """

    def __init__(self, network: AsyncNet, listener: NetSocket, connected: Connected, limit: int) -> None:
        self._network = network
        self._listener = listener
        self._connected = connected
        self._limit = limit
        self.others: list[NetServer] = []
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._error: OSError | None = None
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
            except OSError as error:
                if error.errno in SHORT:  # as asyncio: connections wait until there is a socket for them
                    self._network.when_spare(self._go_on)
                elif isinstance(error.__cause__ or error, (ServerDied, StaleSocket)):  # again and again within a call
                    _log.warning("asked for connections again in %g s: %s", LOOK_SECONDS, error)
                    asyncio.get_running_loop().call_later(LOOK_SECONDS, self._go_on)
                else:
                    self._fail(error)
                return
            reader = asyncio.StreamReader(limit=self._limit)
            protocol = asyncio.StreamReaderProtocol(reader, self._connected)
            try:
                NetTransport(self._network, accepted, protocol)
            except OSError:  # it has ended already
                accepted.close()
        try:
            self._network.arm(self._listener, Events.READABLE, self._accept)
        except OSError as error:
            self._network.doubt()
            meaning = self._listener.as_reset(error)
            if not isinstance(meaning, ConnectionResetError):
                self._fail(meaning)
            else:  # the session is over: `accept` makes the socket again, in the next one
                asyncio.get_running_loop().call_soon(self._accept, Events.ERROR)

    def _go_on(self) -> None:
        self._accept(Events.READABLE)

    def _fail(self, error: OSError) -> None:
        """Accept no more, since nothing comes any more."""
        self._error = error
        self.close()

    def close(self) -> None:
        """Accept no more."""
        if not self._closed.done():
            self._closed.set_result(None)
            if self._listener.is_here:
                self._network.forget(self._listener.number)
            self._listener.close()
            for each in self.others:
                each.close()

    async def serve_forever(self) -> None:
        """Return when it is closed. Raises OSError: by itself, since the network server is gone for good, say."""
        await self._closed
        for each in (self, *self.others):
            if each._error is not None:
                raise each._error

    async def __aenter__(self) -> NetServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


__all__ = ["AsyncNet", "NetServer", "NetTransport"]
