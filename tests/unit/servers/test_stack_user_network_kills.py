"""The process of the user network is killed again and again while bytes go both ways: none is wrong, lost or twice."""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import pytest

from hw import helpers
from hw.devices.user_network.connection_memory import create_memory
from hw.helpers import Helper, Helpers, Process
from servers.network.stack import Stack, is_built
from tests.unit.servers.stack_pair import MACS, Peer, run_pair
from tests.unit.servers.test_stack import received, until
from tests.unit.servers.test_stack_user_network import Work, bound, has_lease

pytestmark = pytest.mark.skipif(
    not is_built(), reason="this tree was built without lwIP's source (make build says why)"
)
CONNECTIONS = 3
SIZE = 6 << 20  # of each connection, there and back
KILLS = 12


def started(name: str, arguments: Sequence[str], descriptors: Sequence[int]) -> Process:
    process = subprocess.Popen([sys.executable, *arguments], pass_fds=descriptors)
    return process, os.pidfd_open(process.pid)


class Killed:
    """The user network as the monitor starts it, and a server of the host that sends back what it gets.

    The process is killed when so many bytes have been sent back, by random numbers. To be made where it lives: nobody
    else closes what it opens.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._bytes = 0
        self._left = sorted(random.Random(11).sample(range(CONNECTIONS * SIZE * 9 // 10), KILLS), reverse=True)
        self._kills, self._kill = os.pipe()
        self._lock = threading.Lock()

    def live(self, link: socket.socket, done: Callable[[], None], mtu: int) -> None:
        helpers.MOST_STARTS = 2 * KILLS
        with ExitStack() as stack:
            looked_after = Helpers(started)
            stack.callback(looked_after.close)
            memory = create_memory()
            stack.callback(os.close, memory)
            arguments = ["--frames", str(link.fileno()), "--mac", MACS[0].hex(), "--mtu", str(mtu)]
            arguments += ["--connections", str(memory)]
            helper = Helper("network", "hw.devices.user_network", arguments, (link.fileno(), memory), keeps=True)
            looked_after.start(helper)
            threads = [threading.Thread(target=self._serve) for _ in range(CONNECTIONS)]
            for thread in threads:
                thread.start()
            self._look_after(looked_after)
            for thread in threads:
                thread.join()
            done()
            self._wait_for_end(looked_after)

    def _serve(self) -> None:
        """One connection."""
        sock, _ = self._listener.accept()
        with sock:
            while data := sock.recv(1 << 16):
                sock.sendall(data)
                with self._lock:
                    self._bytes += len(data)
                    while self._left and self._left[-1] < self._bytes:
                        self._left.pop()
                        os.write(self._kill, b"k")

    def _look_after(self, looked_after: Helpers) -> None:
        """As the monitor does, and kill, until it was killed as often as wanted."""
        for _ in range(KILLS):
            (pidfd,) = looked_after.descriptors
            ready: list[int] = []
            while self._kills not in ready:
                ready, _, _ = select.select([self._kills, *looked_after.keepers], [], [])
                for keeper in [each for end, each in looked_after.keepers.items() if end in ready]:
                    keeper.take()
            os.read(self._kills, 1)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [])
            assert looked_after.ended(pidfd)[1] is not None

    def _wait_for_end(self, looked_after: Helpers) -> None:
        """The link ends, and so does who serves it."""
        (pidfd,) = looked_after.descriptors
        select.select([pidfd], [], [])


def test_streams_both_ways_outlive_the_process() -> None:
    data = [random.Random(seed).randbytes(SIZE) for seed in range(CONNECTIONS)]

    def stream(stack: Stack, data: bytes) -> Work:
        sock = stack.stream(4)
        sock.connect("10.0.2.2", port)
        yield from until(lambda: sock.writable or sock.error)
        assert sock.error is None
        back, at = bytearray(), 0
        while at < len(data):
            at += sock.send(data[at : at + (1 << 16)])
            while part := sock.recv(1 << 16):
                back += part
            assert sock.error is None
            yield
        sock.shutdown(False, True)
        back += yield from received(sock)
        assert back == data
        sock.close()

    def side(stack: Stack) -> Work:
        yield from until(lambda: has_lease(stack))
        streams = [stream(stack, each) for each in data]
        while streams:
            streams = [each for each in streams if next(each, each) is not each]
            yield

    with bound(socket.SOCK_STREAM, 4) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        run_pair(side, Peer(lambda *given: Killed(listener).live(*given)), first_asks=True)
