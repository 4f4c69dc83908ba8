"""Starts the network's process: python -m hw.devices.user_network --parent PID --frames N --mac HEX --mtu BYTES
[--no-outgoing] [--forward N:PORT…] [--connections N --keeper N --kept NUMBER:N,…]

``--frames``: a SOCK_SEQPACKET socket that this process has inherited. ``--forward``: a bound socket, and whither in the
guest it leads. ``--connections``: the memory of TCP connections, which go on where a former life has left some;
``--keeper``, ``--kept``: as `hw.kept_descriptors` says, sockets of the host by numbers that connections note. It ends
with its parent, and when the other side of the frames is gone for good.
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
from hw.devices.user_network.connection_memory import ConnectionMemory
from hw.devices.user_network.kept_sockets import KeptSockets
from hw.devices.user_network.network import NetworkOptions, UserNetwork
from hw.helpers import begin_helper
from hw.kept_descriptors import kept_of


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--mac", type=bytes.fromhex, required=True)
    parser.add_argument("--mtu", type=int, required=True)
    parser.add_argument("--no-outgoing", action="store_true")
    parser.add_argument("--forward", action="append", default=[])
    parser.add_argument("--connections", type=int)
    parser.add_argument("--keeper", type=int)
    parser.add_argument("--kept", type=kept_of, default={})
    arguments = parser.parse_args()
    begin_helper(arguments.parent)
    options = NetworkOptions(arguments.mac, arguments.mtu, not arguments.no_outgoing, _resolver())
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(arguments, options))


async def _serve(arguments: argparse.Namespace, options: NetworkOptions) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    keeper = None if arguments.keeper is None else socket.socket(fileno=arguments.keeper)
    if keeper is None:  # else a next life may go on with all, or who keeps the sockets closes them
        loop.add_signal_handler(signal.SIGTERM, over.set)
    end = socket.socket(fileno=arguments.frames)
    memory = ConnectionMemory(arguments.connections)
    network = UserNetwork(loop, end, options, over.set, memory, KeptSockets(loop, keeper))
    network.tcp.resume({number: socket.socket(fileno=descriptor) for number, descriptor in arguments.kept.items()})
    for text in arguments.forward:
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
