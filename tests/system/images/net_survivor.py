"""A server on sockets whose network server is killed meanwhile; each scene waits for its `net_visitor`'s connections.

It says to every visitor how many there were before, and to every datagram likewise. Before it answers the first
datagram it kills the network server itself: that answer is lost, and no more than that. Configuration: ``scene``.
"""

from __future__ import annotations

import asyncio

from libsel4py import Component, aio, component, uses
from libsel4py.interfaces.network import Network
from libsel4py.interfaces.system import System
from libsel4py.net_aio import AsyncNet
from libsel4py.sockets import SOCK_DGRAM, Net

PORT = 80


@component
class Main(Component):
    network = uses(Network)
    system = uses(System)

    def run(self) -> None:
        with Net(self.network) as net:
            getattr(self, str(self.task.environment.configuration["scene"]))(net)

    def streams(self, net: Net) -> None:
        with net.create_server(("", PORT)) as listener:
            for number in range(1 << 16):
                accepted, _ = listener.accept()
                with accepted:
                    try:
                        accepted.sendall(b"%d\n" % number)
                        accepted.recv(1)  # until the visitor goes, or the network server
                    except ConnectionResetError:
                        self.log.info("a connection was reset")

    def datagrams(self, net: Net) -> None:
        with net.socket(type=SOCK_DGRAM) as sock:
            sock.bind(("", PORT))
            for number in range(1 << 16):
                _, visitor = sock.recvfrom(16)
                if not number:
                    self.system.kill("network")
                sock.sendto(b"%d" % number, visitor)

    def asyncio(self, net: Net) -> None:
        aio.run(self._asyncio(net))

    async def _asyncio(self, net: Net) -> None:
        number = 0

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal number
            writer.write(b"%d\n" % number)
            number += 1
            try:
                await reader.read(1)
            except ConnectionResetError:
                self.log.info("a connection was reset")
            writer.close()

        async with AsyncNet(net) as network, await network.start_server(connected, "", PORT) as server:
            await server.serve_forever()
