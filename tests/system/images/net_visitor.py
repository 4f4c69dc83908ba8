"""Visits `net_survivor`, and kills the network server while it is there, several times. Configuration: ``scene``."""

from __future__ import annotations

from libsel4py import Component, component, uses
from libsel4py.interfaces.network import Network
from libsel4py.interfaces.system import System
from libsel4py.sockets import SOCK_DGRAM, Net, NetSocket
from tests.system.images.net_survivor import PORT

ROUNDS = 3
HOST = "127.0.0.1"


@component
class Main(Component):
    network = uses(Network)
    system = uses(System)

    def run(self) -> None:
        datagrams = self.task.environment.configuration["scene"] == "datagrams"
        with Net(self.network) as net:
            (self._datagrams if datagrams else self._streams)(net)

    def _streams(self, net: Net) -> None:
        """Each visit is the next one of the same server's life; a visit that is broken off is a reset connection."""
        last = -1
        for _ in range(ROUNDS):
            sock, number = self._visit(net)
            assert number > last, f"visit {number} comes after {last}: the server has begun anew"
            last = number
            self.system.kill("network")
            try:
                came = sock.recv(1)
            except ConnectionResetError:
                sock.close()
            else:
                raise AssertionError(f"a connection outlived the network server: {came!r}")

    def _visit(self, net: Net) -> tuple[NetSocket, int]:
        """A connection that was served, and how many were before. The server may listen later than this one asks."""
        while True:
            sock = net.socket()
            try:
                sock.connect((HOST, PORT))
                with sock.makefile("rb") as lines:
                    line = lines.readline()
                if line:
                    return sock, int(line)
            except (ConnectionRefusedError, ConnectionResetError):
                self.log.debug("not served yet")
            sock.close()

    def _datagrams(self, net: Net) -> None:
        """The same two sockets, each at its port and one of them connected, go on after each death."""
        with net.socket(type=SOCK_DGRAM) as sock:
            sock.bind((HOST, 0))
            sock.connect((HOST, PORT))
            port, last = sock.getsockname()[1], -1
            sock.settimeout(0.1)
            for _ in range(ROUNDS):
                number = self._asked(sock)
                assert number > last
                last = number
                self.system.kill("network")
                assert sock.getsockname()[1] == port

    def _asked(self, sock: NetSocket) -> int:
        """What the server answers: datagrams may be lost, so they are sent until one comes back."""
        while True:
            sock.send(b"who?")
            try:
                return int(sock.recv(16))
            except TimeoutError:
                self.log.debug("no answer yet")
