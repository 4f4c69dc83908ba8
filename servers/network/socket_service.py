"""Answers `Socket`: what comes by the capability of one socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libsel4py import dispatch
from libsel4py.errors import InvalidMessage
from libsel4py.interfaces.network import AGAIN, PIECE_BYTES, Address, Events, Shut, Socket, StaleSocket
from servers.network.sockets import NOT_YET, Attempt, NetSocket, ensure_sends
from servers.network.turns import Turns, wait_for

if TYPE_CHECKING:
    from libsel4py.server import Server


dispatch.prepare(Socket.interface_methods.values())  # by the zygote: who is started again finds it made


class SocketService(Socket):
    """Sockets by the badge of their capability."""

    def __init__(self, server: Server, turns: Turns) -> None:
        super().__init__()
        self._served_by = server
        self._turns = turns
        self._sockets: dict[int, NetSocket] = {}

    def add(self, badge: int, sock: NetSocket) -> None:
        """A socket is to have a capability."""
        sock.badge = badge
        self._sockets[badge] = sock
        self._served_by.add_client(badge, sock.session.origin.owner, Socket)

    def ended(self, sock: NetSocket) -> None:
        """Forget a socket."""
        if self._sockets.pop(sock.badge, None) is not None:
            self._served_by.remove_client(sock.badge)

    def _socket(self) -> NetSocket:
        sock = self._sockets.get(self.caller.badge)
        if sock is None:
            raise StaleSocket("the socket is closed")
        sock.session.ensure_alive()
        return sock

    def send(self, data: bytes, time_limit: int) -> int:
        sock = self._socket()
        _ensure_piece(len(data))
        ensure_sends(sock)
        return self._wait(sock, lambda: sock.try_send(data), AGAIN, time_limit)  # type: ignore[return-value]  # int

    def receive(self, length: int, time_limit: int) -> bytes | None:
        sock = self._socket()
        _ensure_piece(length)

        def attempt() -> object:
            data = sock.try_receive(length)
            return NOT_YET if data is None else data

        return self._wait(sock, attempt, None, time_limit)  # type: ignore[return-value]  # bytes

    def wait(self, events: int, time_limit: int) -> int:
        sock = self._socket()
        wanted = Events(events & 3)
        return self._wait(sock, lambda: sock.try_wait(wanted), 0, time_limit)  # type: ignore[return-value]  # int

    def ends(self) -> tuple[Address, Address]:
        raw = self._socket().raw
        return Address(*raw.local), Address(*raw.peer)

    def shutdown(self, how: int) -> None:
        self._socket().stream.shutdown(bool(how & Shut.RECEIVE), bool(how & Shut.SEND))
        self._turns.turn()

    def close(self) -> None:
        sock = self._socket()
        sock.session.drop(sock)
        self._turns.turn()

    def _wait(self, sock: NetSocket, attempt: Attempt, late: object, time_limit: int) -> object:
        return wait_for(sock, attempt, lambda: late, time_limit, self._turns, self.defer_reply)


def _ensure_piece(length: int) -> None:
    if length > PIECE_BYTES:
        raise InvalidMessage(f"a piece has at most {PIECE_BYTES} bytes, and not {length}")
