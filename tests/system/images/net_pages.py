"""Serves pages by Python's `http.server`, and echoes by asyncio: what `net_user` asks for. Configuration: ``scene``."""

from __future__ import annotations

import asyncio
import http.server
from typing import Any

from libsel4py import Component, aio, component, uses
from libsel4py.interfaces.network import Network
from libsel4py.net_aio import AsyncNet
from libsel4py.sockets import Net

PAGE_BYTES = 1 << 20


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"small" if self.path == "/small" else (self.path.encode() * PAGE_BYTES)[:PAGE_BYTES]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


@component
class Main(Component):
    network = uses(Network)

    def run(self) -> None:
        with Net(self.network, pool_bits=22) as net:
            if self.task.environment.configuration["scene"] == "asyncio":
                aio.run(self._echo(net))
            else:
                self._pages(net)

    def _pages(self, net: Net) -> None:
        listener = net.create_server(("", 80))
        server: Any = None  # which `Pages` does not ask for
        while True:
            accepted, peer = listener.accept()
            with accepted:
                Pages(accepted, peer, server)  # type: ignore[arg-type]  # a socket's like

    async def _echo(self, net: Net) -> None:
        async with AsyncNet(net) as network, await network.start_server(echo, "", 80) as server:
            await server.serve_forever()
