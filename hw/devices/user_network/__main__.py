"""Starts the network's process: python -m hw.devices.user_network --parent PID --frames N --mac HEX --mtu BYTES
[--no-outgoing] [--forward N:PORT…]

``--frames``: a SOCK_SEQPACKET socket that this process has inherited. ``--forward``: a bound socket, and whither in the
guest it leads. It ends with its parent, and when the other side of the frames is gone for good.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
from pathlib import Path

import uvloop

from hw.devices.user_network.addresses import HostAddress, resolver_of
from hw.devices.user_network.network import NetworkOptions, UserNetwork
from hw.helpers import begin_helper


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--mac", type=bytes.fromhex, required=True)
    parser.add_argument("--mtu", type=int, required=True)
    parser.add_argument("--no-outgoing", action="store_true")
    parser.add_argument("--forward", action="append", default=[])
    arguments = parser.parse_args()
    begin_helper(arguments.parent)
    options = NetworkOptions(arguments.mac, arguments.mtu, not arguments.no_outgoing, _resolver())
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(socket.socket(fileno=arguments.frames), options, arguments.forward))


async def _serve(end: socket.socket, options: NetworkOptions, forwards: list[str]) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    network = UserNetwork(loop, end, options, over.set)
    for text in forwards:
        descriptor, _, port = text.partition(":")
        listener = socket.socket(fileno=int(descriptor))
        kind = network.tcp if listener.type == socket.SOCK_STREAM else network.udp
        kind.forward(listener, int(port))
        print(f"forwarding {listener.getsockname()} to the guest's port {port}", flush=True)
    await over.wait()
    network.close()


def _resolver() -> HostAddress | None:
    try:
        return resolver_of(Path("/etc/resolv.conf").read_text())
    except OSError:
        return None


main()
