"""A client of the network: each scene is a method; what goes wrong is an exception.

Configuration: ``scene``; ``host``, where `net_pages` serves (this system itself, if nothing is said).
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import time

from libsel4py import Component, aio, component, uses
from libsel4py.abi import ObjectType
from libsel4py.capabilities import Untyped
from libsel4py.interfaces.network import Kind, Network, StaleSocket
from libsel4py.net_aio import AsyncNet
from libsel4py.sockets import Net, NetSocket
from tests.system.images.net_pages import PAGE_BYTES

HOST = "127.0.0.1"


class Connection(http.client.HTTPConnection):
    """Only the set-up of the connection is another."""

    def __init__(self, net: Net, host: str) -> None:
        super().__init__(host, 80)
        self._net = net

    def connect(self) -> None:
        self.sock = connected(self._net, self.host)


def connected(net: Net, host: str = HOST) -> NetSocket:
    """A connection to the other task, which may listen later than this one asks."""
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            return net.create_connection((host, 80))


@component
class Main(Component):
    network = uses(Network)

    def run(self) -> None:
        with Net(self.network) as net:
            getattr(self, str(self.task.environment.configuration["scene"]))(net)

    def pages(self, net: Net) -> None:
        connection = Connection(net, str(self.task.environment.configuration.get("host", HOST)))
        start = time.perf_counter()
        for number in range(20):
            connection.request("GET", f"/{number}/")
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200
            assert body == (f"/{number}/".encode() * PAGE_BYTES)[:PAGE_BYTES]
        taken = time.perf_counter() - start
        self.log.info("20 MiB of pages in %.3f s: %.1f MiB/s", taken, 20 / taken)
        connection.close()

    def asyncio(self, net: Net) -> None:
        connected(net).close()
        aio.run(self._asyncio(net))

    async def _asyncio(self, net: Net) -> None:
        async def one(number: int) -> None:
            reader, writer = await network.open_connection(HOST, 80)
            data = bytes([number]) * 100_000
            writer.write(data)
            writer.write_eof()
            assert await reader.read(-1) == data
            writer.close()

        async with AsyncNet(net) as network:
            await asyncio.gather(*(one(number) for number in range(20)))

    def calls(self, net: Net) -> None:
        """What a small send and receive cost."""
        with net.create_server(("", 90)) as listener:
            near = net.create_connection((HOST, 90))
            far, _ = listener.accept()
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(200):
            near.send(b"x")
            far.recv(1)
        start = time.perf_counter()
        for _ in range(2000):
            near.send(b"x")
            far.recv(1)
        self.log.info("a small send and its receive: %.1f us", (time.perf_counter() - start) / 2000 * 1e6)

    def taken_back(self, net: Net) -> None:
        memory = self.task.memory
        pool = Untyped(memory.allocate(ObjectType.UNTYPED, 18).start)
        session = Network(self.network.session(pool))
        number = session.socket(Kind.STREAM, 4)
        session.bind(number, "", 99)
        self.task.cnode.revoke(pool.cptr)
        try:
            session.ends(number)
        except StaleSocket:
            net.create_server(("", 99)).close()
            return
        raise AssertionError("a session outlived its memory")

    def late(self, net: Net) -> None:
        """What does not come in time ends in time: the soonest first, whatever was asked for first."""
        with net.create_server(("", 90)) as listener:
            near = net.create_connection((HOST, 90))
            far, _ = listener.accept()
        for seconds in (0.2, 0.01, 0.05):
            near.settimeout(seconds)
            start = time.monotonic()
            with contextlib.suppress(TimeoutError):
                near.recv(1)
                raise AssertionError("bytes came that nobody sent")
            assert seconds <= time.monotonic() - start < seconds + 5
        far.sendall(b"in time")
        assert near.recv(10) == b"in time"

    def rules(self, net: Net) -> None:
        narrowed = Network(self.network.narrow(["listen tcp 100"]))
        with Net(narrowed) as other:
            other.create_server(("", 100)).close()
            try:
                other.create_server(("", 101))
            except PermissionError:
                return
        raise AssertionError("a rule was not kept")
