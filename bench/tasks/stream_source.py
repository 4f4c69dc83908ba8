"""Takes orders from the console, one a line, and answers each with a line of JSON that begins with ``@``.

connect HOST               to a `bench.tasks.stream_sink`; again and again until it is there
give BYTES                 one stream of them, until the other side has had the last     seconds of all
"""

from __future__ import annotations

import json

from bench.stream import PIECE_BYTES, PORT, give
from libsel4py import Component, component, uses
from libsel4py.interfaces.console import Console
from libsel4py.interfaces.network import Network
from libsel4py.sockets import Net, NetSocket

TIMEOUT = 20.0


@component
class Main(Component):
    """Measures."""

    console = uses(Console)
    network = uses(Network)

    def run(self) -> int:
        with Net(self.network, window_bytes=PIECE_BYTES) as net:
            piece = bytes(range(256)) * (PIECE_BYTES // 256)
            sock: NetSocket | None = None
            while True:
                name, *arguments = self.console.read_line("", echo=False).split()
                seconds = 0.0
                if name == "end":
                    if sock is not None:
                        sock.close()
                    return 0
                if name == "connect":
                    sock = self._connected(net, arguments[0])
                else:
                    assert sock is not None  # it was connected first
                    seconds = give(sock, piece, int(arguments[0]))
                self.console.write(f"@{json.dumps({'seconds': seconds})}\n")

    def _connected(self, net: Net, host: str) -> NetSocket:
        """A connection; the other system may not be there yet, and answers once it is."""
        while True:
            try:
                sock = net.create_connection((host, PORT), TIMEOUT)
            except ConnectionRefusedError:
                continue
            sock.settimeout(None)
            return sock
