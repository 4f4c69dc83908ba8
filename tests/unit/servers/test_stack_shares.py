"""What all connections share. Peers that take nothing, and sockets that nobody reads, keep what there is of memory and
segments; others go on, and it comes back when those end."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, replace

import pytest

from servers.network import _lwip
from servers.network.stack import TcpSocket, UdpSocket, is_built
from tests.unit.servers.stack_pair import ADDRESSES, MACS
from tests.unit.servers.test_stack import PORT
from tests.unit.servers.wire import (
    ACK,
    FIN,
    LINUX_OPTIONS,
    PSH,
    RST,
    SEQUENCE,
    SYN,
    Segment,
    Wire,
    answer_to,
    packet,
    run_alone,
)

pytestmark = pytest.mark.skipif(
    not is_built(), reason="this tree was built without lwIP's source (make build says why)"
)
UDP = 17
MOST_CONNECTIONS = 2048
TASK_MEMORY = 64 << 20
PIECE = b"x" * 0x10000
LARGE = b"\x02\x04\xff\xc8" + LINUX_OPTIONS[4:]  # 65,480 bytes
STEP_MS = 100  # TCP's timer
USUAL = 1 << 20
LEAST = 3 * 1460


@dataclass
class Peer:
    """The other side of a connection that it has asked for. `taken`: bytes that came, all of them in their order."""

    wire: Wire
    number: int
    sock: TcpSocket
    next: int
    first: int
    taken: int = 0
    window: int = 0xFFFF
    is_reset: bool = False

    def say(self, data: bytes = b"", flags: int = ACK) -> list[Segment]:
        """Acknowledge what came, and what the stack has sent to it since."""
        port = 1024 + self.number
        mine = Segment(ADDRESSES[1], ADDRESSES[0], port, PORT, self.next, self.first + self.taken, flags, self.window)
        self.next += len(data) + bool(flags & FIN)
        sent = [each for each in self.wire.give(replace(mine, data=data)) if each.target_port == port]
        for each in sent:
            self.is_reset = self.is_reset or bool(each.flags & RST)
            known = (self.first + self.taken - each.sequence) % SEQUENCE
            self.taken += max(0, len(each.data) - known)
        return sent

    def take(self) -> None:
        """All that comes, until nothing more does."""
        before = -1
        while before < self.taken:
            before = self.taken
            self.say()

    def wait(self, milliseconds: int) -> None:
        """Only acknowledge."""
        for _ in range(milliseconds // STEP_MS):
            _lwip.let_go_by(STEP_MS)
            self.say()


LIMITED = pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer's own memory is beyond the limit"
)


def listening(wire: Wire) -> TcpSocket:
    listener = wire.stack.stream(4)
    listener.bind("0.0.0.0", PORT)
    listener.listen(64)
    return listener


def connected(
    wire: Wire, listener: TcpSocket, number: int, window: int = 0xFFFF, options: bytes = LINUX_OPTIONS
) -> Peer:
    syn = Segment(ADDRESSES[1], ADDRESSES[0], 1024 + number, PORT, 1000, option_bytes=options)
    (came,) = wire.ask(syn)
    assert came.flags == SYN | ACK
    wire.give(answer_to(came))
    sock = listener.accept()
    assert sock is not None
    peer = Peer(wire, number, sock, 1001, came.sequence + 1, window=window)
    peer.say()
    return peer


def send_all(sock: TcpSocket) -> int:
    """As much as it takes; how much."""
    total = 0
    while sent := sock.send(PIECE):
        total += sent
    return total


def test_peers_that_take_nothing_leave_segments_to_others() -> None:
    def work(wire: Wire) -> None:
        listener = listening(wire)
        other = connected(wire, listener, 0)
        idle = [connected(wire, listener, number, window=0) for number in range(1, 41)]
        taken = [send_all(each.sock) for each in idle]
        assert taken[0] == USUAL
        assert taken[-1] == LEAST
        total = 0
        for _ in range(100):
            total += send_all(other.sock)
            assert not other.sock.writable, "who may not send now is told when he may"
            other.take()
            assert other.taken == total
            assert other.sock.writable
        for each in idle:
            each.sock.abort()
        assert send_all(other.sock) == USUAL

    run_alone(work)


def test_what_comes_ahead_of_its_turn_leaves_segments_to_others() -> None:
    def work(wire: Wire) -> None:
        listener = listening(wire)
        other = connected(wire, listener, 0)
        for number in range(1, 21):
            peer = connected(wire, listener, number)
            peer.next += 1
            for _ in range(1000):
                peer.say(b"ahead", ACK | PSH)
        assert send_all(other.sock) >= LEAST
        other.take()
        assert send_all(other.sock) >= LEAST

    run_alone(work)


def test_a_closed_connection_to_a_peer_that_takes_nothing_is_broken_off() -> None:
    def work(wire: Wire) -> None:
        listener = listening(wire)
        peers = [connected(wire, listener, number, window=0) for number in range(20)]
        for each in peers:
            send_all(each.sock)
            each.sock.close()
        for _ in range(1400):
            _lwip.let_go_by(STEP_MS)
            for each in peers:
                if not each.is_reset:
                    each.say()
        assert all(each.is_reset for each in peers)
        assert send_all(connected(wire, listener, 100).sock) == USUAL

    run_alone(work)


@pytest.mark.parametrize("ends_first", [False, True])
def test_a_closed_connection_waits_for_a_peer_that_takes_something_now_and_then(ends_first: bool) -> None:
    def work(wire: Wire) -> None:
        peer = connected(wire, listening(wire), 0)
        peer.say(b"all of it", ACK | PSH | FIN if ends_first else ACK | PSH)
        assert peer.sock.recv(100) == b"all of it"
        total = send_all(peer.sock)
        peer.sock.close()
        while peer.taken < total and not peer.is_reset:
            peer.window = 0
            peer.wait(50_000)
            peer.window = 0xFFFF
            for _ in range(8):
                peer.say()
        assert not peer.is_reset
        assert peer.taken == total

    run_alone(work)


def test_when_connections_run_out_the_oldest_that_is_closed_goes() -> None:
    def work(wire: Wire) -> None:
        listener = listening(wire)
        kept = connected(wire, listener, 0)
        for number in range(1, MOST_CONNECTIONS + 100):
            peer = connected(wire, listener, number, window=0)
            peer.sock.send(b"never taken")
            peer.sock.close()
        assert wire.stack.stream(4) is not None
        kept.sock.send(b"as ever")
        kept.say()
        assert kept.taken == len(b"as ever")

    run_alone(work)


@LIMITED
def test_peers_that_take_nothing_leave_memory_to_others() -> None:
    def work(wire: Wire) -> None:
        listener = listening(wire)
        other = connected(wire, listener, 0, options=LARGE)
        for number in range(1, 200):
            taken = send_all(connected(wire, listener, number, window=0, options=LARGE).sock)
            assert taken >= 16 << 10
        for _ in range(10):
            assert send_all(other.sock) >= 16 << 10
            other.take()

    run_alone(work, mtu=65_535, memory=TASK_MEMORY)


@LIMITED
def test_what_nobody_reads_leaves_memory_to_others() -> None:
    def work(wire: Wire) -> None:
        listener = listening(wire)
        other = connected(wire, listener, 0, options=LARGE)
        for number in range(1, 100):
            peer = connected(wire, listener, number, options=LARGE)
            for _ in range(32):
                peer.say(PIECE[:32_000], ACK | PSH)
        other.say(b"question", ACK | PSH)
        assert other.sock.recv(100) == b"question"
        assert send_all(other.sock) >= 16 << 10

    run_alone(work, mtu=65_535, memory=TASK_MEMORY)


def datagram(port: int, data: bytes) -> bytes:
    return packet(ADDRESSES[1], ADDRESSES[0], UDP, struct.pack("!HHHH", 9, port, 8 + len(data), 0) + data, 6)


@LIMITED
def test_datagrams_that_nobody_reads_leave_memory_to_others() -> None:
    def work(wire: Wire) -> None:
        other = connected(wire, listening(wire), 0, options=LARGE)
        for port in range(1000, 1150):
            unread = wire.stack.datagrams(4)
            unread.bind("0.0.0.0", port)
            for _ in range(10):
                wire.give(datagram(port, PIECE[:60_000]))
        assert send_all(other.sock) >= 16 << 10
        read: UdpSocket = wire.stack.datagrams(4)
        read.bind("0.0.0.0", 2000)
        wire.give(datagram(2000, b"question"))
        assert read.recv_from() == (b"question", ADDRESSES[1], 9)

    run_alone(work, mtu=65_535, memory=TASK_MEMORY)


@LIMITED
def test_of_a_packet_in_a_longer_frame_no_more_is_kept_than_the_packet() -> None:
    def work(wire: Wire) -> None:
        peer = connected(wire, listening(wire), 0)
        for number in range(2000):
            mine = Segment(ADDRESSES[1], ADDRESSES[0], 1024, PORT, peer.next + number, peer.first, ACK | PSH, data=b"y")
            wire.give(mine.frame(MACS[1]) + bytes(60_000))
        assert peer.sock.recv(4000) == b"y" * 2000

    run_alone(work, mtu=65_535, memory=TASK_MEMORY)
