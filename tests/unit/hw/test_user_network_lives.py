"""TCP connections of the user network outlive its process: each state that a death may leave, by a scripted guest.

A life is ended by hand: its loop hears of nothing any more, and copies of its sockets and its memory are all that is
left. Real processes that are killed: tests/unit/servers/test_stack_user_network_kills.py.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from hw.devices.user_network.addresses import GATEWAY
from hw.devices.user_network.connection_memory import (
    ACKNOWLEDGED,
    EXPECTED,
    GUEST_SCALE,
    KEPT_AS,
    MOST,
    OUR_SCALE,
    RING_BYTES,
    STATE,
    TOUCHES,
    ConnectionMemory,
    create_memory,
)
from hw.devices.user_network.forward import Forward
from hw.devices.user_network.host_counts import host_counts
from hw.devices.user_network.kept_sockets import KeptSockets
from hw.devices.user_network.network import NetworkOptions, UserNetwork
from hw.devices.user_network.tcp_connection import Connection
from hw.devices.user_network.tcp_segment import ACK, FIN, PSH, RST, SYN, ahead, syn_options
from hw.kept_descriptors import NUMBER, KeptDescriptors
from tests.unit.hw.user_guest import MAC, TcpPeer, UserGuest

DATA = ACK | PSH
_KEY = 16  # the word of a record that begins with how long its addresses are


class Lives(UserGuest):
    """A guest whose network may die."""

    def __init__(self) -> None:
        super().__init__()
        self.network.close()
        self.descriptor = create_memory()
        self.begin({})

    def begin(self, kept: dict[int, socket.socket], keeper: socket.socket | None = None) -> None:
        memory = ConnectionMemory(self.descriptor)
        keeps = KeptSockets(self.loop, keeper)
        self.network = UserNetwork(self.loop, self._there, NetworkOptions(MAC), memory=memory, kept=keeps)
        self.network.tcp.resume(kept)

    @property
    def connection(self) -> Connection:
        (found,) = self.network.tcp._connections.values()
        return found

    def die(self) -> dict[int, socket.socket]:
        """The sockets that are left of this life, by the numbers that they are kept by."""
        kept = {}
        for each in self.network.tcp._connections.values():
            each._stop_reading()
            each._stop_writing()
            kept[each.slot.words[KEPT_AS]] = each._host.dup()
            each._host.close()
        if self.network.tcp._tick is not None:
            self.network.tcp._tick.cancel()
        for listener in self.network.tcp._listeners:
            self.loop.remove_reader(listener)
        self.network.link.close()
        return kept

    def next_life(self) -> None:
        self.begin(self.die())

    def close(self) -> None:
        super().close()
        os.close(self.descriptor)


@pytest.fixture
def guest() -> Iterator[Lives]:
    made = Lives()
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(20)
        yield made


def connected(guest: UserGuest, server: socket.socket, **options: int) -> tuple[TcpPeer, socket.socket]:
    peer = TcpPeer(guest, 3000, (GATEWAY, server.getsockname()[1]), **options)
    guest.run(peer.connect())
    host, _ = server.accept()
    host.settimeout(20)
    return peer, host


def reset(host: socket.socket) -> None:
    host.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    host.close()


def test_what_the_guest_has_not_acknowledged_is_sent_by_the_next_life(guest: Lives, server: socket.socket) -> None:
    peer, host = connected(guest, server, window=3000)
    host.sendall(bytes(range(250)) * 20)
    data = bytes(guest.run(peer.take()).data)
    peer.send(ACK)
    guest.next_life()
    while len(data) < 5000:
        part = guest.run(peer.segment())
        if part.sequence == peer.expected:
            data += bytes(part.data)
            peer.expected = ahead(peer.expected, len(part.data))
        peer.send(ACK)
    assert data == bytes(range(250)) * 20


def test_what_a_life_had_read_and_not_sent_is_sent_by_the_next_one(guest: Lives, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    connection = guest.connection
    kept = guest.die()
    host.sendall(b"read, and then killed")
    assert kept[connection.slot.words[KEPT_AS]].recv_into(connection.sending.space(4)) == 4
    guest.begin(kept)
    data = b""
    while len(data) < 21:
        data += bytes(guest.run(peer.take_data()).data)
    assert data == b"read, and then killed"


@pytest.mark.parametrize("is_forwarded", [False, True])
def test_urgent_bytes_are_bytes_of_the_stream(guest: Lives, server: socket.socket, is_forwarded: bool) -> None:
    """Read before a death, and not."""
    if is_forwarded:
        listener = Forward.parse("tcp:127.0.0.1:0-80").listen()
        guest.network.tcp.forward(listener, 80)
        host = socket.create_connection(listener.getsockname())
        host.send(b"!", socket.MSG_OOB)  # before it is accepted
        peer = TcpPeer(guest, 80, (GATEWAY, 49152))
        peer.expected = ahead(guest.run(peer.segment()).sequence, 1)
        peer.send(SYN | ACK, options=syn_options(1460, 2))
        listener.close()
    else:
        peer, host = connected(guest, server)
        host.send(b"!", socket.MSG_OOB)
    host.send(b"read")
    data = b""
    while len(data) < 5:
        data += bytes(guest.run(peer.take_data()).data)
        peer.send(ACK)
    assert guest.silent()
    kept = guest.die()
    host.send(b"not")
    host.send(b"?", socket.MSG_OOB)
    host.send(b"read")
    guest.begin(kept)
    while len(data) < 13:
        data += bytes(guest.run(peer.take_data()).data)
        peer.send(ACK)
    assert data == b"!readnot?read"
    host.close()


def test_what_a_life_had_written_and_not_noted_is_written_once(guest: Lives, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    connection = guest.connection
    kept = guest.die()
    assert kept[connection.slot.words[KEPT_AS]].send(b"written ") == 8
    guest.begin(kept)
    assert guest.run(peer.segment()).acknowledged == ahead(peer.next, 8)
    peer.send(DATA, b"written once")
    guest.run(peer.segment())
    assert host.recv(12, socket.MSG_WAITALL) == b"written once"


def test_what_the_host_did_not_take_is_written_by_the_next_life(guest: Lives, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    sent = 0
    while not guest.connection.receiving.pending:
        peer.send(DATA, bytes([sent % 251]) * 1460)
        guest.run(peer.segment())
        sent += 1
    for _ in range(3):
        peer.send(DATA, bytes([sent % 251]) * 1460)
        guest.run(peer.segment())
        sent += 1
    peer.send(ACK | FIN)
    guest.run(peer.segment())
    guest.next_life()

    async def drained() -> bytes:
        host.setblocking(False)
        taken = bytearray()
        while data := await guest.loop.sock_recv(host, 1 << 20):
            taken += data
        return bytes(taken)

    assert guest.run(drained()) == b"".join(bytes([number % 251]) * 1460 for number in range(sent))


@pytest.mark.parametrize("guest_ended", [False, True])
def test_an_end_of_the_host_s_that_came_in_between_is_told(
    guest: Lives, server: socket.socket, guest_ended: bool
) -> None:
    peer, host = connected(guest, server)
    if guest_ended:
        peer.send(ACK | FIN)
        guest.run(peer.segment())
    kept = guest.die()
    host.sendall(b"last")
    host.close()
    guest.begin(kept)
    last = guest.run(peer.take_data())
    assert bytes(last.data) == b"last"
    assert guest.run(peer.take()).flags & FIN
    peer.send(ACK)
    if not guest_ended:
        peer.send(ACK | FIN)
    guest.run(peer.segment())
    assert guest.network.tcp.count == 0


def test_both_ends_that_were_told_are_known_to_the_next_life(guest: Lives, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    host.close()
    assert guest.run(peer.take()).flags & FIN
    guest.next_life()
    again = guest.run(peer.segment()), guest.run(peer.segment())
    assert [each.flags for each in again] == [ACK, FIN | ACK]
    assert again[1].sequence == ahead(peer.expected, -1)
    peer.send(ACK)
    assert guest.silent()
    guest.next_life()
    assert guest.run(peer.segment()).flags == ACK
    peer.send(ACK | FIN)
    assert guest.run(peer.segment()).acknowledged == peer.next
    assert guest.network.tcp.count == 0


def test_a_reset_that_came_in_between_is_told(guest: Lives, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    kept = guest.die()
    reset(host)
    guest.begin(kept)
    assert guest.run(peer.segment()).flags & RST
    assert guest.network.tcp.count == 0


def test_a_reset_that_a_life_may_have_heard_and_not_told_is_told(guest: Lives, server: socket.socket) -> None:
    """Its error is gone, and the socket looks as if its peer had ended in order."""
    peer, host = connected(guest, server)
    words = guest.connection.slot.words
    kept = guest.die()
    reset(host)
    words[TOUCHES] = 1
    with pytest.raises(ConnectionResetError):
        next(iter(kept.values())).recv(1)
    guest.begin(kept)
    assert guest.run(peer.segment()).flags & RST


def test_a_connection_whose_socket_nobody_kept_is_reset_on_both_sides(guest: Lives, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    for each in guest.die().values():
        each.close()
    guest.begin({})
    assert guest.run(peer.segment()).flags & RST
    with pytest.raises(ConnectionResetError):
        host.recv(1)
    assert not ConnectionMemory(guest.descriptor).used()


@pytest.mark.parametrize("has_data", [False, True])
def test_a_reset_says_where_the_guest_is(guest: Lives, server: socket.socket, has_data: bool) -> None:
    """Else the guest takes it for an old one, and waits on."""
    peer, host = connected(guest, server)
    if has_data:
        host.send(b"question")
        guest.run(peer.take_data())
        peer.send(DATA, b"answer")
        guest.run(peer.segment())
        peer.send(ACK | FIN)
        assert guest.run(peer.segment()).acknowledged == peer.next
    for each in guest.die().values():
        each.close()
    guest.begin({})
    reset = guest.run(peer.segment())
    assert (reset.sequence, reset.acknowledged) == (peer.expected, peer.next)


def test_a_connection_goes_on_with_no_other_one_s_socket(guest: Lives, server: socket.socket) -> None:
    """The way to who keeps sockets is full at the death, and the slot of one that has ended is another one's."""
    guest.die()
    with closing(KeptDescriptors()) as keeper, keeper.begin() as end:
        guest.begin({}, end)
        peer, host = connected(guest, server)
        with suppress(BlockingIOError):
            while True:
                end.send(NUMBER.pack(0))
        peer.send(RST)
        assert guest.silent()
        assert guest.network.tcp.count == 0
        other = TcpPeer(guest, 3001, peer.other)
        other.send(SYN)
        assert guest.silent()
        server.accept()
        assert guest.silent(), "the guest is told of a connection whose socket is not kept"
        for each in guest.die().values():
            each.close()
        guest.loop.remove_writer(end)
        end.close()
        keeper.ended()
        assert len(keeper.kept) == 1
        guest.begin({number: socket.socket(fileno=os.dup(each)) for number, each in keeper.kept.items()})
    assert guest.network.tcp.count == 0
    with pytest.raises(ConnectionResetError):
        host.recv(1)
    assert guest.silent()


def test_the_guest_is_told_once_the_socket_is_kept(guest: Lives, server: socket.socket) -> None:
    guest.die()
    with closing(KeptDescriptors()) as keeper, keeper.begin() as end:
        guest.begin({}, end)
        end.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                end.send(NUMBER.pack(0))
        peer = TcpPeer(guest, 3000, (GATEWAY, server.getsockname()[1]))
        peer.send(SYN)
        assert guest.silent()
        server.accept()
        assert guest.silent()
        assert not ConnectionMemory(guest.descriptor).used()
        while select.select([keeper.end], [], [], 0)[0]:
            keeper.take()
        assert guest.run(peer.segment()).flags == SYN | ACK
        (slot,) = ConnectionMemory(guest.descriptor).used()
        guest.network._kept.close()
        keeper.ended()
        assert list(keeper.kept) == [slot.words[KEPT_AS]]


def test_a_socket_of_another_number_is_no_connection_s(guest: Lives, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    ((number, kept),) = guest.die().items()
    guest.begin({number ^ 1: kept})
    assert guest.run(peer.segment()).flags & RST
    with pytest.raises(ConnectionResetError):
        host.recv(1)


def test_a_record_that_cannot_be_is_reset(guest: Lives, server: socket.socket) -> None:
    for word in (ACKNOWLEDGED, EXPECTED):
        peer, _ = connected(guest, server)
        words = guest.connection.slot.words
        words[word] = ahead(words[word], -2 * RING_BYTES)
        guest.next_life()
        while not guest.run(peer.segment()).flags & RST:
            continue
        assert guest.network.tcp.count == 0


@pytest.mark.parametrize(
    ("word", "value"),
    [(STATE, 1), (STATE, 77), (MOST, 0), (OUR_SCALE, 16), (GUEST_SCALE, 1 << 40), (EXPECTED, 1 << 32), (_KEY, 9)],
)
def test_a_record_that_no_life_has_left_ends_that_connection_alone(
    guest: Lives, server: socket.socket, word: int, value: int
) -> None:
    peer, host = connected(guest, server)
    words = guest.connection.slot.words
    other = TcpPeer(guest, 3001, peer.other)
    guest.run(other.connect())
    words[word] = value
    guest.next_life()
    assert guest.run(other.segment()).flags == ACK
    assert guest.network.tcp.count == 1
    assert words[STATE] == 0
    with pytest.raises(ConnectionResetError):
        host.recv(1)
    peer.send(DATA, b"?")
    refused = guest.run(peer.segment())
    assert (refused.flags, refused.sequence) == (RST, peer.expected)


def test_a_handshake_goes_on(guest: Lives, server: socket.socket) -> None:
    peer = TcpPeer(guest, 3000, (GATEWAY, server.getsockname()[1]))
    peer.send(SYN, options=syn_options(1000, 3))
    answer = guest.run(peer.segment())
    guest.next_life()
    assert guest.run(peer.segment())[2:] == answer[2:]
    peer.expected = ahead(answer.sequence, 1)
    peer.send(DATA, b"question")
    host, _ = server.accept()
    guest.run(peer.segment())
    assert host.recv(100) == b"question"
    host.sendall(bytes(1500))
    assert [len(guest.run(peer.take()).data) for _ in range(2)] == [1000, 500]


def test_who_has_connected_to_a_forwarded_port_waits_for_the_next_life(guest: Lives) -> None:
    listener = Forward.parse("tcp:127.0.0.1:0-80").listen()
    address = listener.getsockname()
    guest.network.tcp.forward(listener, 80)
    with listener, socket.create_connection(address) as client:
        client.settimeout(20)
        peer = TcpPeer(guest, 80, (GATEWAY, 49152))
        syn = guest.run(peer.segment())
        guest.next_life()
        assert guest.run(peer.segment()) == syn
        peer.expected = ahead(syn.sequence, 1)
        peer.send(SYN | ACK, options=syn_options(1460, 2))
        guest.run(peer.segment())
        guest.next_life()
        assert guest.run(peer.segment()).acknowledged == peer.next
        client.send(b"question")
        assert bytes(guest.run(peer.take()).data) == b"question"


def test_a_slot_is_used_again_as_if_new(guest: Lives, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    host.close()
    guest.run(peer.take())
    peer.send(ACK | FIN)
    guest.run(peer.segment())
    second, host = connected(guest, server)
    assert guest.connection.slot.number == 0
    guest.next_life()
    assert guest.run(second.segment()).acknowledged == second.next
    host.send(b"x")
    assert bytes(guest.run(second.take()).data) == b"x"


def test_what_the_host_has_counted(server: socket.socket) -> None:
    """At every stage of a connection, bytes alone; what the SYN counts is there from its beginning."""
    for ours_first in (True, False):
        with socket.create_connection(server.getsockname()) as ours, server.accept()[0] as theirs:
            before = host_counts(ours)
            assert (before.read, before.is_closed) == (0, False)
            theirs.send(b"123456")
            assert ours.recv(2) == b"12"
            ours.send(b"abc")
            stages = [(ours, ours), (theirs, ours)] if ours_first else [(theirs, ours), (ours, ours)]
            for number, (ends, _) in enumerate(stages):
                ends.shutdown(socket.SHUT_WR)
                if ends is theirs:
                    assert ours.recv(6, socket.MSG_PEEK | socket.MSG_WAITALL) == b"3456"
                counts = host_counts(ours)
                assert counts[:2] == (before.written + 3, 2), number
            assert theirs.recv(4, socket.MSG_WAITALL) == b"abc"
            assert ours.recv(6, socket.MSG_WAITALL) == b"3456"
            assert host_counts(ours) == (before.written + 3, 6, True)
