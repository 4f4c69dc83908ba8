"""asyncio's transport over a stream socket of the network server. `net_aio` makes them.

Rules: all happens on the event loop's thread. A socket is asked for until nothing is there, `MOST_TURNS` times at most,
so that others have their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from libsel4py.interfaces.network import AGAIN, Events, Shut
from libsel4py.net_errors import as_os_error
from libsel4py.net_socket import NetSocket

if TYPE_CHECKING:
    from libsel4py.net_aio import AsyncNet

MOST_TURNS: Final = 4
HIGH_WATER: Final = 256 << 10  # bytes that are not sent yet, at which a writer is told to pause


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
            self._guarded(lambda: self._network.arm(self._sock, wanted, self._happened))
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
            self._sock.ensure_here()
            with as_os_error():
                work()
        except OSError as error:
            self._closing = True
            self._network.doubt()
            self._end(self._sock.as_reset(error))

    def _end(self, error: OSError | None) -> None:
        if not self._lost:
            self._lost = True
            self._unsent.clear()
            if self._sock.is_here:
                self._network.forget(self._number)
            self._sock.close()
            self._network.closed()
            self._loop.call_soon(self._protocol.connection_lost, error)
