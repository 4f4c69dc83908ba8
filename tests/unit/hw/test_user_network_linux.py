"""The user network with a real TCP stack as its guest: Linux's own, in a network namespace behind a tap.

Needs root: a namespace of the network is made for each test, in a process that ends with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from hw.devices.impaired_link import ImpairedLink, Impairment
from hw.devices.user_network.network import NetworkOptions, UserNetwork
from tests.network_namespace import WHY_NOT, enter_namespace, ip, open_tap, pump

MAC = "52:54:00:12:34:56"
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"no Linux as a guest: {WHY_NOT}")


def linux_guest(end: int, mtu: int, program: str, answer: int) -> None:
    """In a process of its own: a namespace with a tap whose frames go by ``end``; runs a program in it."""
    enter_namespace()
    tap = open_tap(MAC, mtu, "10.0.2.15/24")
    ip("route add default via 10.0.2.2")
    for source, target in ((tap, end), (end, tap)):
        threading.Thread(target=pump, args=(source, target), daemon=True).start()
    namespace: dict[str, object] = {}
    exec(program, namespace)  # the test's own text
    os.write(answer, json.dumps(namespace["result"]).encode())


class Linux:
    """A network with Linux as its guest, which runs one program and says its ``result``."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.here, self.there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def run(self, program: str, mtu: int = 1500, worse: Impairment | None = None) -> object:
        ends = [self.here]
        if worse is not None:
            ends = [self.here, *socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]
            link = ImpairedLink(self.loop, ends[0], ends[1], worse, seed=1)
        network = UserNetwork(self.loop, ends[-1], NetworkOptions(bytes.fromhex(MAC.replace(":", "")), mtu))
        try:
            return self.loop.run_until_complete(self._result(program, mtu))
        finally:
            network.close()
            if worse is not None:
                assert link.lost
                link.close()
                for end in ends[1:]:
                    end.close()

    async def _result(self, program: str, mtu: int) -> object:
        reads, writes = os.pipe()
        code = (
            f"from tests.unit.hw.test_user_network_linux import linux_guest\n"
            f"linux_guest({self.there.fileno()}, {mtu}, {program!r}, {writes})"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, pass_fds=(self.there.fileno(), writes)
        )
        os.close(writes)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        with os.fdopen(reads) as answer:
            return json.load(answer)

    def close(self) -> None:
        self.loop.close()
        self.here.close()
        self.there.close()


@pytest.fixture
def linux() -> Iterator[Linux]:
    made = Linux()
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[int]:
    """A server's port: it answers all that a connection sends with the number of its bytes, then sends them back."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:

        def serve(end: socket.socket) -> None:
            with end:
                data = bytearray()
                while part := end.recv(1 << 20):
                    data += part
                end.sendall(b"%d\n" % len(data) + data)

        def accept() -> None:
            while True:
                try:
                    end, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(end,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


TRANSFER = """
import hashlib, random, socket, time
data = random.Random(1).randbytes({size})
with socket.create_connection(("10.0.2.2", {port}), 30) as end:
    began = time.perf_counter()
    end.sendall(data)
    end.shutdown(socket.SHUT_WR)
    with end.makefile("rb") as file:
        count = int(file.readline())
        up = time.perf_counter() - began
        back = file.read()
        down = time.perf_counter() - began - up
result = [count, back == data, up, down]
"""


@pytest.mark.parametrize("mtu", [1500, 65521])
def test_bytes_go_and_come(linux: Linux, server: int, mtu: int) -> None:
    size = 16 << 20
    count, same, up, down = linux.run(TRANSFER.format(size=size, port=server), mtu)  # type: ignore[misc]
    assert (count, same) == (size, True)
    print(f"MTU {mtu}: {size / up / 2**20:.0f} MiB/s out, {size / down / 2**20:.0f} MiB/s in")


def test_a_link_that_loses_frames(linux: Linux, server: int) -> None:
    worse = Impairment(lost=0.01, repeated=0.01, reordered=0.01)
    count, same, _, _ = linux.run(TRANSFER.format(size=1 << 18, port=server), worse=worse)  # type: ignore[misc]
    assert (count, same) == (1 << 18, True)


def test_two_hundred_connections(linux: Linux, server: int) -> None:
    program = f"""
import socket
ends = [socket.create_connection(("10.0.2.2", {server}), 30) for _ in range(200)]
for number, end in enumerate(ends):
    end.sendall(bytes(number))
    end.shutdown(socket.SHUT_WR)
result = []
for end in ends:
    with end, end.makefile("rb") as file:
        result.append([int(file.readline()), len(file.read())])
"""
    assert linux.run(program) == [[number, number] for number in range(200)]


def test_nobody_listens(linux: Linux) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        program = f"""
import socket
try:
    socket.create_connection(("10.0.2.2", {unused.getsockname()[1]}), 30)
except OSError as error:
    result = type(error).__name__
"""
        assert linux.run(program) == "ConnectionRefusedError"
