"""Bytes that are sent to an echo server and come back: each of them is looked at."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Final

from libsel4py.interfaces.network import Network
from libsel4py.sockets import Net, NetSocket
from libsel4py.workload import Workload

PATIENCE_S: Final = 1.5  # who has died says nothing: what is lost once is sent again after 1 s
MOST_TURNS: Final = 32  # of a connection: making one is exercised, too


class Echoes:
    """One turn is one message there and back; what breaks a connection is told, and the next turn makes another.

    Args:
        load: counts it. peer: host and port of a server that sends back what it is sent. most: bytes of a message.
    """

    def __init__(
        self, load: Workload, chance: random.Random, network: Network, peer: tuple[str, int], most: int
    ) -> None:
        self._load = load
        self._chance = chance
        self._network = network
        self._peer = peer
        self._most = most
        self._net: Net | None = None
        self._socket: NetSocket | None = None
        self._turns = 0

    def turn(self) -> None:
        """Once."""
        sent = self._chance.randbytes(self._chance.randint(1, self._most))
        is_whole = False
        with self._load.attempt():
            connection = self._connection()
            connection.sendall(sent)
            came = self._receive(connection, len(sent))
            self._load.check(came == sent, f"of {len(sent)} bytes others came back")
            is_whole = True
        self._turns += 1
        if not is_whole or self._turns == MOST_TURNS:
            self._close()

    def _connection(self) -> NetSocket:
        if self._net is None:
            self._net = Net(self._network)
        if self._socket is None:
            self._socket = self._net.create_connection(self._peer, timeout=PATIENCE_S)
            self._socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, True)  # a message's end waits for no acknowledgement
            self._turns = 0
        return self._socket

    def _receive(self, connection: NetSocket, count: int) -> bytes:
        came = bytearray()
        while len(came) < count:
            data = connection.recv(count - len(came))
            if not data:
                raise ConnectionResetError("the other side has closed the connection in the midst of an answer")
            came += data
        return bytes(came)

    def _close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            with suppress(OSError):
                connection.close()


def by_network(load: Workload, chance: random.Random, network: Network, peer: str, most: int) -> Callable[[], None]:
    """A turn of `Echoes`. ``peer`` is ``host:port``. Raises ValueError: it is not."""
    host, _, port = peer.rpartition(":")
    return Echoes(load, chance, network, (host, int(port)), most).turn
