"""A web server: the files that it was given, over HTTP/1.1.

Must be given: connections ``network`` (with a rule that lets it listen) and ``files`` (a file system, or a namespace),
a further thread, and a pool of 8 MiB for 250 connections. Settings: ``port`` (80).

A file system that was started again costs a delay: a file that is being sent goes on where it was. A network server
that was started again has lost its connections; this one goes on to listen at the next life of it.
"""

from __future__ import annotations

import asyncio
from typing import BinaryIO, Final, cast

from apps.httpd import connection
from apps.httpd.content import Response, answer
from apps.httpd.room import Room
from libsel4py import Component, aio, component
from libsel4py.context import uses
from libsel4py.files import Files
from libsel4py.interfaces.file import Kind, Stat
from libsel4py.interfaces.network import Network
from libsel4py.net_aio import AsyncNet
from libsel4py.sockets import Net

PORT: Final = 80
MOST_CONNECTIONS: Final = 250
POOL_BITS: Final = 22  # of the network session: 16 KiB a socket
FILES_POOL_BITS: Final = 18  # 512 bytes for each file that is being sent
BUFFER_BYTES: Final = 256 << 10


class FileTree:
    """The files that were given."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def stat(self, path: str) -> Stat:
        return self._files.stat(path)

    def names(self, path: str) -> list[str]:
        return [entry.name + "/" * (entry.kind is Kind.DIRECTORY) for entry in self._files.list(path)]

    def open(self, path: str) -> BinaryIO:
        return cast(BinaryIO, self._files.open(path, "rb", buffering=0))


@component
class Main(Component):
    """The server."""

    network = uses(Network)

    def run(self) -> int:
        try:
            with Net(self.network, pool_bits=POOL_BITS) as net:
                aio.run(self._serve(net))
        except OSError as error:
            self.log.error("the network is gone: %s", error)
        return 1

    async def _serve(self, net: Net) -> None:
        port = int(self.task.environment.configuration.get("port", PORT))  # type: ignore[arg-type]  # a number
        tree = FileTree(Files(self.uses.files, buffer_bytes=BUFFER_BYTES, pool_bits=FILES_POOL_BITS))
        room = Room(MOST_CONNECTIONS)

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with room.place():
                try:
                    await connection.serve(reader, writer, lambda *request: self._answer(tree, *request), room)
                except (OSError, TimeoutError) as error:
                    self.log.debug("a client is gone: %s", error)
                finally:
                    writer.close()

        async with AsyncNet(net) as network, await network.start_server(connected, "", port) as server:
            self.log.info("serving at port %d", port)
            await server.serve_forever()

    def _answer(self, tree: FileTree, method: bytes, target: bytes, headers: dict[bytes, bytes]) -> Response:
        response = answer(tree, method, target, headers)
        self.log.debug("%s %s: %d", method, target, response.status.value)
        return response
