"""TCP that ends in the user network: each rule by a scripted guest, with a socket of the host at the other side."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator

import pytest

from hw.devices.user_network import dhcp, tcp, tcp_connection
from hw.devices.user_network.addresses import GATEWAY, GUEST
from hw.devices.user_network.connection_memory import ConnectionMemory, Slot
from hw.devices.user_network.forward import Forward
from hw.devices.user_network.tcp_receiving import WINDOW
from hw.devices.user_network.tcp_segment import ACK, FIN, PSH, RST, SYN, ahead, syn_options
from hw.devices.user_network.tcp_sending import MOST_TRIES, RETRY_SECONDS, Sending
from tests.unit.hw.user_guest import TcpPeer, UserGuest, dhcp_message

DATA = ACK | PSH


@pytest.fixture
def guest() -> Iterator[UserGuest]:
    made = UserGuest()
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(20)
        yield made


def slot() -> Slot:
    made = ConnectionMemory().take()
    assert made is not None
    return made


def put(sending: Sending, data: bytes) -> None:
    sending.space(len(data))[:] = data
    sending.send_bytes(len(data), now=0.0)


def connected(guest: UserGuest, server: socket.socket, **options: int) -> tuple[TcpPeer, socket.socket]:
    peer = TcpPeer(guest, 3000, (GATEWAY, server.getsockname()[1]), **options)
    guest.run(peer.connect())
    host, _ = server.accept()
    host.settimeout(20)
    return peer, host


def test_a_handshake_says_what_the_link_allows(guest: UserGuest, server: socket.socket) -> None:
    peer = TcpPeer(guest, 3000, (GATEWAY, server.getsockname()[1]))
    answer = guest.run(peer.connect(syn_options(1460, 7)))
    assert answer.mss == 1460
    assert answer.scale is not None
    assert answer.window == 65535


def test_without_scaling_there_is_none(guest: UserGuest, server: socket.socket) -> None:
    peer = TcpPeer(guest, 3000, (GATEWAY, server.getsockname()[1]))
    assert guest.run(peer.connect(syn_options(1460, None))).scale is None


def test_nobody_listens(guest: UserGuest) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        peer = TcpPeer(guest, 3000, (GATEWAY, unused.getsockname()[1]))
        peer.send(SYN)
        answer = guest.run(peer.segment())
    assert answer.flags == RST | ACK
    assert answer.acknowledged == peer.next
    assert guest.network.tcp.count == 0


def test_a_segment_of_no_connection_is_reset(guest: UserGuest) -> None:
    peer = TcpPeer(guest, 3000, (GATEWAY, 9))
    peer.expected = 77
    peer.send(ACK)
    answer = guest.run(peer.segment())
    assert (answer.flags, answer.sequence) == (RST, 77)


def test_bytes_both_ways(guest: UserGuest, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    peer.send(DATA, b"from the guest")
    answer = guest.run(peer.segment())
    assert (answer.flags, answer.acknowledged) == (ACK, peer.next)
    assert host.recv(100) == b"from the guest"
    host.send(b"from the host")
    segment = guest.run(peer.take())
    assert bytes(segment.data) == b"from the host"
    assert segment.flags & ACK
    host.close()


def test_a_segment_is_as_long_as_the_guest_says(guest: UserGuest, server: socket.socket) -> None:
    peer = TcpPeer(guest, 3000, (GATEWAY, server.getsockname()[1]))
    guest.run(peer.connect(syn_options(700, None)))
    host, _ = server.accept()
    host.send(bytes(2000))
    assert [len(guest.run(peer.take()).data) for _ in range(2)] == [700, 700]


def test_the_guest_s_window_is_kept(guest: UserGuest, server: socket.socket) -> None:
    peer, host = connected(guest, server, window=1000)
    host.send(bytes(1500))
    assert len(guest.run(peer.take()).data) == 1000
    assert guest.silent()
    peer.send(ACK)
    assert len(guest.run(peer.take()).data) == 500


def test_a_host_that_does_not_read_closes_the_window(guest: UserGuest, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    sent = 0
    window = 65535
    while window >= 1460:
        peer.send(DATA, bytes([sent % 251]) * 1460)
        sent += 1
        window = guest.run(peer.segment()).window
    assert sent * 1460 >= WINDOW - 65535

    async def drained() -> int:
        host.setblocking(False)
        taken = 0
        while taken < sent * 1460:
            taken += len(await guest.loop.sock_recv(host, 1 << 20))
        return taken

    guest.run(drained())
    assert guest.run(peer.segment()).window == 65535  # told without being asked


def test_the_guest_ends_first(guest: UserGuest, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    peer.send(DATA | FIN, b"last")
    assert guest.run(peer.segment()).acknowledged == peer.next
    assert host.recv(100) == b"last"
    assert host.recv(100) == b""
    host.send(b"more")  # the other direction goes on
    assert bytes(guest.run(peer.take()).data) == b"more"
    peer.send(ACK)
    host.close()
    assert guest.run(peer.take()).flags & FIN
    peer.send(ACK)
    guest.run(peer.segment())
    assert guest.network.tcp.count == 0


def test_the_host_ends_first(guest: UserGuest, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    host.send(b"last")
    host.shutdown(socket.SHUT_WR)
    assert bytes(guest.run(peer.take()).data) == b"last"
    assert guest.run(peer.take()).flags & FIN
    peer.send(ACK)
    peer.send(DATA, b"more")
    guest.run(peer.segment())
    assert host.recv(100) == b"more"
    peer.send(ACK | FIN)
    assert guest.run(peer.segment()).acknowledged == peer.next
    assert host.recv(100) == b""
    assert guest.network.tcp.count == 0


def test_the_guest_resets(guest: UserGuest, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    peer.send(RST)
    assert guest.silent()
    assert guest.network.tcp.count == 0
    with pytest.raises(ConnectionResetError):
        host.recv(100)


def test_a_reset_that_is_not_in_order_is_asked_about(guest: UserGuest, server: socket.socket) -> None:
    peer, _ = connected(guest, server)
    peer.send(RST, sequence=ahead(peer.next, 10))
    assert guest.run(peer.segment()).flags == ACK
    peer.send(SYN)  # RFC 5961
    assert guest.run(peer.segment()).flags == ACK
    assert guest.network.tcp.count == 1


def test_the_host_resets(guest: UserGuest, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    host.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    host.close()
    assert guest.run(peer.segment()).flags & RST
    assert guest.network.tcp.count == 0


def test_a_hole_is_not_jumped_and_old_bytes_come_once(guest: UserGuest, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    begin = peer.next
    peer.send(DATA, b"later", sequence=ahead(begin, 5))
    assert guest.run(peer.segment()).acknowledged == begin
    peer.send(DATA, b"first")
    guest.run(peer.segment())
    peer.send(DATA, b"firstlater", sequence=begin)
    assert guest.run(peer.segment()).acknowledged == ahead(begin, 10)
    assert host.recv(100) == b"firstlater"


def test_what_is_asked_for_three_times_is_sent_again(guest: UserGuest, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    begin = peer.expected
    host.send(bytes(1460) + b"x" * 1460)
    first, second = guest.run(peer.segment()), guest.run(peer.segment())
    for _ in range(3):
        peer.send(ACK)
    assert bytes(guest.run(peer.segment()).data) == bytes(first.data)
    peer.expected = ahead(begin, 1460)
    peer.send(ACK)  # the first has come; the second was lost as well
    assert bytes(guest.run(peer.segment()).data) == bytes(second.data)


def test_an_acknowledgement_of_what_was_not_sent_changes_nothing(guest: UserGuest, server: socket.socket) -> None:
    peer, host = connected(guest, server)
    peer.expected = ahead(peer.expected, 1000)
    peer.send(DATA, b"hostile")
    assert guest.run(peer.segment()).flags == ACK
    peer.expected = ahead(peer.expected, -1000)
    peer.send(DATA, b"sound", sequence=ahead(peer.next, -7))
    guest.run(peer.segment())
    assert host.recv(100) == b"sound"


def test_all_that_was_lost_is_sent_again_as_acknowledgements_come() -> None:
    sent: list[int] = []
    sending = Sending(0xFFFF_FFFE, lambda sequence, flags, data: sent.append(sequence), slot())
    sending.window = 100
    for _ in range(3):
        put(sending, b"ab")
    for _ in range(3):
        sending.duplicate()
    assert sending.acknowledge(0, now=0.5)
    assert sent == [0xFFFF_FFFE, 0, 2, 0xFFFF_FFFE, 0]
    assert sending.in_flight == 4
    assert sending.acknowledge(4, now=0.6)
    assert sending.deadline is None


def test_what_nobody_acknowledges_is_sent_again_and_then_given_up() -> None:
    sent: list[tuple[int, int, bytes]] = []
    sending = Sending(7, lambda sequence, flags, data: sent.append((sequence, flags, bytes(data))), slot())
    sending.window = 100
    put(sending, b"abc")
    assert sending.deadline == RETRY_SECONDS
    assert all(sending.expired(float(number)) for number in range(MOST_TRIES))
    assert sent == [(7, DATA, b"abc")] * (1 + MOST_TRIES)
    assert not sending.expired(100.0)


def test_a_silent_guest_is_asked_and_one_that_has_forgotten_the_connection_ends_it(
    guest: UserGuest, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_connection, "KEEP_SECONDS", 0.1)
    peer, host = connected(guest, server)
    for _ in range(2):
        asked = guest.run(peer.segment())
        assert (asked.flags, asked.sequence, bytes(asked.data)) == (ACK, ahead(peer.expected, -1), b"")
        peer.send(ACK)
    guest.run(peer.segment())
    peer.send(RST, sequence=asked.acknowledged)
    with pytest.raises(ConnectionResetError):
        guest.run(guest.loop.run_in_executor(None, host.recv, 1))
    host.close()


def test_a_guest_that_begins_anew_is_asked_at_once(
    guest: UserGuest, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new stack tells by asking for an address; one that knows the connection keeps it, a renewal asks nothing."""
    monkeypatch.setattr(tcp, "TICK_SECONDS", 3600.0)
    monkeypatch.setattr(tcp, "DOUBT_SECONDS", 0.0)
    peer, host = connected(guest, server)
    for client, is_asked in ((GUEST, False), (bytes(4), True)):
        guest.send_udp(
            b"\xff" * 4, (68, 67), dhcp_message(dhcp.REQUEST, b"\x32\x04" + GUEST, client=client), source=client
        )
        guest.run(guest.packet())  # the lease
        if is_asked:
            assert guest.run(peer.segment()).sequence == ahead(peer.expected, -1)
            peer.send(ACK)
    guest.send_udp(b"\xff" * 4, (68, 67), dhcp_message(dhcp.REQUEST, b"\x32\x04" + GUEST), source=bytes(4))
    guest.run(guest.packet())
    peer.send(RST, sequence=guest.run(peer.segment()).acknowledged)
    with pytest.raises(ConnectionResetError):
        guest.run(guest.loop.run_in_executor(None, host.recv, 1))
    host.close()


def test_a_guest_that_has_vanished_ends_its_connections(
    guest: UserGuest, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_connection, "KEEP_SECONDS", 0.1)
    monkeypatch.setattr(tcp_connection, "MOST_ASKED", 2)
    peer, host = connected(guest, server)
    flags = [guest.run(peer.segment()).flags for _ in range(3)]
    assert flags == [ACK, ACK, RST | ACK]
    with pytest.raises(ConnectionResetError):
        guest.run(guest.loop.run_in_executor(None, host.recv, 1))
    host.close()


def test_a_forwarded_port(guest: UserGuest) -> None:
    listener = Forward.parse("tcp:127.0.0.1:0-80").listen()
    address = listener.getsockname()
    guest.network.tcp.forward(listener, 80)
    with socket.create_connection(address) as client:
        client.settimeout(20)
        peer = TcpPeer(guest, 80, (GATEWAY, 49152))
        syn = guest.run(peer.segment())
        assert syn.flags == SYN
        peer.expected = ahead(syn.sequence, 1)
        peer.send(SYN | ACK, options=syn_options(1460, 2))
        assert guest.run(peer.segment()).acknowledged == peer.next
        client.send(b"question")
        assert bytes(guest.run(peer.take()).data) == b"question"
        peer.send(DATA, b"answer")
        guest.run(peer.segment())
        assert client.recv(100) == b"answer"


class FullListener(socket.socket):
    """Finds no descriptor for who has connected, while it is full."""

    is_full = True
    tries = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.tries += 1
        if self.is_full:
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


def test_who_connects_while_there_is_no_descriptor_is_not_asked_for_all_the_time(
    guest: UserGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Forward.parse("tcp::0-80").listen()
    listener = FullListener(fileno=made.detach())
    again: list[tuple[Callable[..., None], tuple[object, ...]]] = []
    monkeypatch.setattr(guest.loop, "call_later", lambda delay, work, *arguments: again.append((work, arguments)))
    guest.network.tcp.forward(listener, 80)
    with socket.create_connection(listener.getsockname()):
        while not listener.tries:
            guest.loop.run_until_complete(asyncio.sleep(0))
        for _ in range(20):
            guest.loop.run_until_complete(asyncio.sleep(0))
        assert listener.tries == 1
        monkeypatch.undo()
        listener.is_full = False
        ((work, arguments),) = again
        work(*arguments)
        assert guest.run(TcpPeer(guest, 80, (GATEWAY, 49152)).segment()).flags == SYN


def test_a_forwarded_port_that_the_guest_does_not_have(guest: UserGuest) -> None:
    listener = Forward.parse("tcp:127.0.0.1:0-80").listen()
    address = listener.getsockname()
    guest.network.tcp.forward(listener, 80)
    with socket.create_connection(address) as client:
        client.settimeout(20)
        peer = TcpPeer(guest, 80, (GATEWAY, 49152))
        peer.expected = ahead(guest.run(peer.segment()).sequence, 1)
        peer.send(RST | ACK)
        assert guest.silent()
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_who_connects_while_the_guest_begins_anew_waits_for_what_listens(
    guest: UserGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "YOUNG_SECONDS", 3600.0)
    listener = Forward.parse("tcp:127.0.0.1:0-80").listen()
    address = listener.getsockname()
    guest.network.tcp.forward(listener, 80)
    guest.send_udp(b"\xff" * 4, (68, 67), dhcp_message(dhcp.REQUEST, b"\x32\x04" + GUEST), source=bytes(4))
    guest.run(guest.packet())
    with socket.create_connection(address) as client:
        client.settimeout(20)
        peer = TcpPeer(guest, 80, (GATEWAY, 49152))
        for _ in range(3):
            syn = guest.run(peer.segment())
            assert syn.flags == SYN
            peer.expected = ahead(syn.sequence, 1)
            peer.send(RST | ACK)
        assert guest.run(peer.segment()) == syn
        peer.send(SYN | ACK, options=syn_options(1460, 2))
        guest.run(peer.segment())
        client.send(b"question")
        assert bytes(guest.run(peer.take()).data) == b"question"


def test_two_hundred_at_once(guest: UserGuest) -> None:
    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(4))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=256)
        port = server.sockets[0].getsockname()[1]
        peers = {3000 + number: TcpPeer(guest, 3000 + number, (GATEWAY, port)) for number in range(200)}
        for peer in peers.values():
            peer.send(SYN, options=syn_options(1460, None))
        answers: dict[int, bytes] = {}
        while len(answers) < 200:
            packet = await guest.packet()
            port = int.from_bytes(packet.payload[2:4], "big")
            peer = peers[port]
            flags, size = packet.payload[13], len(packet.payload) - 4 * (packet.payload[12] >> 4)
            sequence = int.from_bytes(packet.payload[4:8], "big")
            if flags & SYN:
                peer.expected = ahead(sequence, 1)
                peer.send(DATA, port.to_bytes(4, "big"))
            elif size:
                answers[port] = bytes(packet.payload[-size:])
        assert answers == {port: port.to_bytes(4, "big") for port in peers}
        server.close()
        await server.wait_closed()

    guest.run(main())
    assert guest.network.tcp.count <= 200
    assert all(key[0] == GUEST for key in guest.network.tcp._connections)
