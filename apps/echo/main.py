"""What is sent comes back (RFC 862, by TCP). Needs a connection ``network`` with a rule that lets it listen, and a
further thread.

Who says nothing for `PATIENCE_S` is let go: the other side may have ended without a word. Others do not wait for that.
Settings: ``port`` (7).
"""

from __future__ import annotations

import asyncio
from typing import Final

from libsel4py import Component, aio, component, uses
from libsel4py.errors import KernelError, RemoteError, ServerDied, ServiceError
from libsel4py.interfaces.network import Network
from libsel4py.net_aio import AsyncNet
from libsel4py.sockets import Net

PORT: Final = 7
PATIENCE_S: Final = 2.0
MOST_CONNECTIONS: Final = 16  # of which the network session has room for twice as many
POOL_BITS: Final = 20
PIECE: Final = 1 << 16
ERRORS: Final = (KernelError, RemoteError, ServerDied, ServiceError, OSError)


class Echo:
    """Sends back what comes, to so many at a time; who comes when there are as many is hung up on."""

    def __init__(self, most: int = MOST_CONNECTIONS, patience: float = PATIENCE_S) -> None:
        self._left = most
        self._patience = patience

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        if not self._left:
            writer.transport.abort()
            return
        self._left -= 1
        try:
            while data := await asyncio.wait_for(reader.read(PIECE), self._patience):
                writer.write(data)
                await asyncio.wait_for(writer.drain(), self._patience)
            writer.close()
        except ERRORS:  # or it has waited for too long, which is one of them
            writer.transport.abort()
        finally:
            self._left += 1


@component
class Main(Component):
    """The server."""

    network = uses(Network)

    def run(self) -> int:
        port = int(str(self.task.environment.configuration.get("port", PORT)))
        while True:
            try:
                with Net(self.network, pool_bits=POOL_BITS) as net:
                    aio.run(self._serve(net, port))
                self.log.warning("it listens anew: it was closed")
            except ERRORS as error:
                self.log.warning("it listens anew: %s", error)

    async def _serve(self, net: Net, port: int) -> None:
        """Returns when it listens no more. Raises ERRORS."""
        async with AsyncNet(net) as network, await network.start_server(Echo().connected, "", port) as server:
            await server.serve_forever()
