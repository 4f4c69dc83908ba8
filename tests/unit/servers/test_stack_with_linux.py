"""lwIP as the server uses it, with Linux's own TCP/IP at the other end of the link, whatever that does to frames."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable, Generator

import pytest

from libsel4py.interfaces.network import Refused, Reset
from servers.network.stack import Stack, TcpSocket, is_built
from tests.network_namespace import WHY_NOT
from tests.unit.servers.stack_pair import ADDRESSES, SIX, Link, Peer, linux, run_pair
from tests.unit.servers.test_stack import PORT, connected, echoes, exchange, listening, received, sent, soon, until
from tests.unit.servers.wire import beside_a_flood

pytestmark = [
    pytest.mark.skipif(not is_built(), reason="this tree was built without lwIP's source (make build says why)"),
    pytest.mark.skipif(WHY_NOT is not None, reason=f"no Linux as a peer: {WHY_NOT}"),
]
Work = Generator[None, None, None]
SECONDS = 40


def linux_connects(host: str) -> socket.socket:
    """A connection of Linux's to our stack, which may listen later than Linux asks."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return socket.create_connection((host, PORT), SECONDS)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "nobody listens"


def linux_listens(version: int = 4, backlog: int = 256) -> socket.socket:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    listener = socket.create_server(("", PORT), family=family, backlog=backlog)
    listener.settimeout(SECONDS)
    return listener


def connects(stack: Stack, host: str) -> Generator[None, None, TcpSocket]:
    """A connection of our stack's to Linux, likewise."""
    while True:
        try:
            return (yield from connected(stack, host))
        except Refused:
            yield


def linux_talks(end: socket.socket, ours: bytes, theirs: bytes) -> None:
    """Send and receive at the same time; the other's end comes behind the last byte."""
    end.settimeout(SECONDS)
    sender = threading.Thread(target=end.sendall, args=(ours,))
    sender.start()
    parts, count = [], 0
    while count < len(theirs):
        part = end.recv(1 << 20)
        assert part, f"the end came {len(theirs) - count} bytes too early"
        parts.append(part)
        count += len(part)
    sender.join()
    end.shutdown(socket.SHUT_WR)
    assert end.recv(1) == b""
    assert hashlib.sha256(b"".join(parts)).digest() == hashlib.sha256(theirs).digest()


def linux_asks(size: int, host: str = ADDRESSES[0]) -> tuple[Callable[[Stack], Work], Peer]:
    """Both send so many bytes at the same time over a connection that Linux makes."""
    server, _ = exchange(size, host)

    def work() -> None:
        with linux_connects(host) as end:
            linux_talks(end, random.Random(1).randbytes(size), random.Random(2).randbytes(size))

    return server, linux(work)


def linux_serves(size: int, host: str = ADDRESSES[1]) -> tuple[Callable[[Stack], Work], Peer]:
    """Likewise, over a connection that our stack makes."""
    _, talk = exchange(size, host, connects)

    def work() -> None:
        with linux_listens(6 if ":" in host else 4) as listener:
            end, _ = listener.accept()
        with end:
            linux_talks(end, random.Random(2).randbytes(size), random.Random(1).randbytes(size))

    return talk, linux(work)


@pytest.mark.parametrize("mtu", [1280, 1500, 9000, 65521])
@pytest.mark.parametrize("scene", [linux_asks, linux_serves])
def test_bytes_go_both_ways(scene: Callable[[int], tuple[Callable[[Stack], Work], Peer]], mtu: int) -> None:
    run_pair(*scene(4 << 20), mtu=mtu)


@pytest.mark.parametrize("host", [ADDRESSES[0], SIX[0]], ids=["IPv4", "IPv6"])
def test_bytes_go_both_ways_while_others_flood_the_port_with_syns(host: str) -> None:
    server, client = linux_asks(1 << 20, host)
    run_pair(beside_a_flood(server, host, PORT), client)


@pytest.mark.slow
@pytest.mark.parametrize("scene", [linux_asks, linux_serves])
def test_many_bytes_go_both_ways(scene: Callable[[int], tuple[Callable[[Stack], Work], Peer]]) -> None:
    run_pair(*scene(100 << 20))


def test_bytes_go_both_ways_over_ipv6() -> None:
    run_pair(*linux_asks(1 << 20, SIX[0]))
    run_pair(*linux_serves(1 << 20, SIX[1]))


@pytest.mark.parametrize(
    "link",
    [
        pytest.param(Link(loss=0.02), id="loss", marks=pytest.mark.slow),
        pytest.param(Link(repeat=0.05), id="repeat"),
        pytest.param(Link(reorder=0.1), id="reorder"),
        pytest.param(Link(loss=0.01, repeat=0.02, reorder=0.05, seed=7), id="all"),
    ],
)
@pytest.mark.parametrize("scene", [linux_asks, linux_serves])
def test_what_a_bad_link_does_is_not_seen(
    scene: Callable[[int], tuple[Callable[[Stack], Work], Peer]], link: Link
) -> None:
    run_pair(*scene(300_000), link=link)


def test_two_hundred_connections_of_linux_at_once() -> None:
    count = 200

    def work() -> None:
        ends = [linux_connects(ADDRESSES[0]) for _ in range(count)]
        for number, end in enumerate(ends):
            end.sendall(b"%d" % number)
            end.shutdown(socket.SHUT_WR)
        for number, end in enumerate(ends):
            with end, end.makefile("rb") as file:
                assert file.read() == b"%d" % number

    run_pair(echoes(count), linux(work))


def test_ends_and_resets_mean_the_same_on_both_sides() -> None:
    def server(stack: Stack) -> Work:
        listener = listening(stack)
        yield from until(lambda: listener.readable)
        first = listener.accept()
        assert first is not None
        assert (yield from received(first)) == b"all"
        yield from sent(first, b"still here")
        first.close()
        yield from until(lambda: listener.readable)
        second = listener.accept()
        assert second is not None
        second.abort()
        yield from until(lambda: listener.readable)
        third = listener.accept()
        assert third is not None
        third.send(b"break it off")
        yield from until(lambda: third.error)
        assert isinstance(third.error, Reset)
        third.close()
        refused = stack.stream(4)
        refused.connect(ADDRESSES[1], PORT)
        yield from until(lambda: refused.error)
        assert isinstance(refused.error, Refused)

    def work() -> None:
        with linux_connects(ADDRESSES[0]) as end:
            end.sendall(b"all")
            end.shutdown(socket.SHUT_WR)
            with end.makefile("rb") as file:
                assert file.read() == b"still here"
        with pytest.raises(ConnectionResetError), linux_connects(ADDRESSES[0]) as end:  # perhaps before connect returns
            end.recv(1)
        end = linux_connects(ADDRESSES[0])
        assert end.recv(100) == b"break it off"
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))
        end.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((ADDRESSES[0], PORT + 1), SECONDS)

    run_pair(server, linux(work))


@pytest.mark.parametrize(("hosts", "version"), [(ADDRESSES, 4), (SIX, 6)])
def test_datagrams_and_echoes(hosts: tuple[str, str], version: int) -> None:
    """One of 5,000 bytes goes in fragments, both ways."""

    def client(stack: Stack) -> Work:
        sock = stack.datagrams(version)
        sock.connect(hosts[1], PORT)
        for _ in range(100):  # nothing says that Linux has its socket already
            sock.send(b"x" * 5000)
            yield from soon(lambda: sock.readable)
            if sock.readable:
                break
        assert sock.recv_from() == (b"y" * 5000, hosts[1], PORT)
        sock.close()
        answered: list[None] = []
        stack.ping(hosts[1], 56, lambda: answered.append(None))
        yield from until(lambda: answered)

    def work() -> None:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as end:
            end.settimeout(SECONDS)
            end.bind((hosts[1], PORT))
            data, peer = end.recvfrom(10_000)
            assert (data, peer[0]) == (b"x" * 5000, hosts[0])
            end.sendto(b"y" * 5000, peer)

    run_pair(client, linux(work))
