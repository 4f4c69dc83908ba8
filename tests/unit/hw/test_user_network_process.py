"""The process that the user network is, as the monitor looks after it: what its ends mean for both sides."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from hw.devices.user_network.addresses import GATEWAY
from hw.devices.user_network.connection_memory import create_memory
from hw.devices.user_network.tcp_segment import ACK
from hw.helpers import Helper, Helpers, Process
from tests.unit.hw.user_guest import MAC, TcpPeer, UserGuest


def started(name: str, arguments: Sequence[str], descriptors: Sequence[int]) -> Process:
    process = subprocess.Popen([sys.executable, *arguments], pass_fds=descriptors)
    return process, os.pidfd_open(process.pid)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(20)
        yield made


def test_a_process_that_is_asked_to_end_ends_no_connection_and_the_system_s_end_does(server: socket.socket) -> None:
    guest = UserGuest()
    guest.network.close()
    with ExitStack() as stack:
        stack.callback(guest.close)
        looked_after = Helpers(started)
        stack.callback(looked_after.close)
        memory = create_memory()
        stack.callback(os.close, memory)
        link = guest._there.fileno()
        arguments = ["--frames", str(link), "--mac", MAC.hex(), "--mtu", "1500", "--connections", str(memory)]
        helper = Helper("network", "hw.devices.user_network", arguments, (link, memory), keeps=True)
        pidfd = looked_after.start(helper)
        peer = TcpPeer(guest, 3000, (GATEWAY, server.getsockname()[1]))
        guest.run(peer.connect())
        host, _ = server.accept()
        host.settimeout(20)
        stack.callback(host.close)
        assert guest.silent()  # it has taken what ends the handshake
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        assert select.select([pidfd], [], [], 20)[0]
        assert looked_after.ended(pidfd)[1] is not None
        host.send(b"goes on")
        assert bytes(guest.run(peer.take_data()).data) == b"goes on"
        peer.send(ACK)
        looked_after.close()
        with pytest.raises(ConnectionResetError):
            host.recv(1)
