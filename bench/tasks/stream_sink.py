"""Takes streams of one `bench.tasks.stream_source`, one connection long, and says after each that it has had it."""

from __future__ import annotations

from bench.stream import PIECE_BYTES, PORT, take
from libsel4py import Component, component, uses
from libsel4py.interfaces.network import Network
from libsel4py.sockets import Net


@component
class Main(Component):
    """The other side."""

    network = uses(Network)

    def run(self) -> int:
        with Net(self.network, window_bytes=PIECE_BYTES) as net, net.create_server(("", PORT)) as listener:
            sock, _ = listener.accept()
            with sock:
                take(sock)
        return 0
