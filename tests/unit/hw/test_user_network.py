"""The user network without TCP: who answers on the link, leases, echo, datagrams, and frames that are none."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator

import pytest

from hw.devices.user_network import dhcp
from hw.devices.user_network.addresses import (
    DNS,
    GATEWAY,
    GATEWAY6,
    GATEWAY_MAC,
    GUEST,
    LINK_LOCAL6,
    host_address,
    resolver_of,
)
from hw.devices.user_network.forward import Forward
from hw.devices.user_network.neighbours import summed6
from hw.devices.user_network.packets import ICMP, ICMP6, UDP, checksum, is_sound
from hw.devices.user_network.udp import datagram
from tests.unit.hw.user_guest import MAC, UserGuest, dhcp_message

BROADCAST = b"\xff" * 4


@pytest.fixture
def guest() -> Iterator[UserGuest]:
    made = UserGuest()
    yield made
    made.close()


def udp_answer(guest: UserGuest) -> tuple[bytes, tuple[int, int], bytes]:
    packet = guest.run(guest.packet())
    assert packet.protocol == UDP
    found = datagram(packet)
    assert found is not None
    return packet.source, found[0], bytes(found[1])


@pytest.mark.parametrize("wanted", [GATEWAY, DNS])
def test_arp(guest: UserGuest, wanted: bytes) -> None:
    guest.send(0x0806, struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, MAC, GUEST, bytes(6), wanted), b"\xff" * 6)
    answer = guest.run(guest.frame())
    assert answer[:6] == MAC
    assert answer[20:32] == b"\0\2" + GATEWAY_MAC + wanted


def test_nobody_answers_for_the_guest_s_own_address(guest: UserGuest) -> None:
    guest.send(0x0806, struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, MAC, bytes(4), bytes(6), GUEST), b"\xff" * 6)
    assert guest.silent()


def test_a_lease(guest: UserGuest) -> None:
    for asked, said in ((dhcp.DISCOVER, dhcp.OFFER), (dhcp.REQUEST, dhcp.ACK)):
        wanted = b"\x32\x04" + GUEST if asked == dhcp.REQUEST else b""
        guest.send_udp(BROADCAST, (68, 67), dhcp_message(asked, wanted), source=bytes(4))
        source, ports, data = udp_answer(guest)
        assert (source, ports) == (GATEWAY, (67, 68))
        assert data[4:8] == struct.pack("!I", 77)
        assert data[16:20] == GUEST
        assert bytes((53, 1, said)) in data
        assert b"\x06\x04" + DNS in data
        assert b"\x1a\x02" + struct.pack("!H", 1500) in data


def test_another_address_is_refused(guest: UserGuest) -> None:
    guest.send_udp(BROADCAST, (68, 67), dhcp_message(dhcp.REQUEST, b"\x32\x04\x0a\0\2\x63"), source=bytes(4))
    assert bytes((53, 1, dhcp.NAK)) in udp_answer(guest)[2]


def test_the_gateway_answers_an_echo(guest: UserGuest) -> None:
    body = struct.pack("!BBHHH", 8, 0, 0, 5, 6) + b"abc"
    guest.send_ip(GATEWAY, ICMP, body[:2] + struct.pack("!H", checksum(body)) + body[4:])
    packet = guest.run(guest.packet())
    assert (packet.source, packet.protocol) == (GATEWAY, ICMP)
    assert checksum(packet.payload) == 0
    assert bytes(packet.payload[:2]) + bytes(packet.payload[4:]) == b"\0\0" + body[4:]


def test_others_cannot_be_asked_for_an_echo(guest: UserGuest) -> None:
    body = struct.pack("!BBHHH", 8, 0, 0, 5, 6)
    guest.send_ip(bytes((192, 0, 2, 1)), ICMP, body[:2] + struct.pack("!H", checksum(body)) + body[4:])
    assert bytes(guest.run(guest.packet()).payload[:2]) == b"\3\x0d"


def test_router_and_neighbour(guest: UserGuest) -> None:
    own = bytes.fromhex("fe80000000000000505400fffe123456")
    routers = bytes.fromhex("ff020000000000000000000000000002")
    guest.send_ip(routers, ICMP6, summed6(struct.pack("!BBHI", 133, 0, 0, 0), own, routers), own)
    packet = guest.run(guest.packet())
    assert is_sound(packet)
    assert packet.source == LINK_LOCAL6
    assert packet.payload[0] == 134
    assert bytes.fromhex("030440c0") in bytes(packet.payload)
    asked = summed6(struct.pack("!BBHI", 135, 0, 0, 0) + GATEWAY6, own, GATEWAY6)
    guest.send_ip(GATEWAY6, ICMP6, asked, own)
    packet = guest.run(guest.packet())
    assert packet.source == GATEWAY6
    assert bytes(packet.payload[8:]) == GATEWAY6 + b"\2\1" + GATEWAY_MAC
    echo = summed6(struct.pack("!BBHHH", 128, 0, 0, 1, 2) + b"xy", own, GATEWAY6)
    guest.send_ip(GATEWAY6, ICMP6, echo, own)
    assert guest.run(guest.packet()).payload[0] == 129


@pytest.fixture
def echo() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(20)
        yield made


def test_datagrams_both_ways(guest: UserGuest, echo: socket.socket) -> None:
    port = echo.getsockname()[1]
    for size in (0, 1, 1472):
        guest.send_udp(GATEWAY, (4000, port), bytes(size))
        guest.silent()  # it has been handed on
        data, sender = echo.recvfrom(2000)
        assert len(data) == size
        echo.sendto(b"y" * size, sender)
        assert udp_answer(guest) == (GATEWAY, (port, 4000), b"y" * size)
    assert guest.network.udp.count == 1


def test_a_datagram_larger_than_the_link_s_mtu_is_lost(guest: UserGuest, echo: socket.socket) -> None:
    port = echo.getsockname()[1]
    guest.send_udp(GATEWAY, (4000, port), b"x")
    guest.silent()
    _, sender = echo.recvfrom(2000)
    echo.sendto(bytes(1473), sender)
    echo.sendto(b"z", sender)
    assert udp_answer(guest)[2] == b"z"


def test_dns_goes_to_the_host_s_resolver(echo: socket.socket) -> None:
    guest = UserGuest(resolver=echo.getsockname())
    guest.send_udp(DNS, (4000, 53), b"question")
    guest.silent()
    data, sender = echo.recvfrom(2000)
    assert data == b"question"
    echo.sendto(b"answer", sender)
    assert udp_answer(guest) == (DNS, (53, 4000), b"answer")
    guest.close()


def test_a_port_that_nobody_has_is_unreachable(guest: UserGuest) -> None:
    guest.send_udp(DNS, (4000, 54), b"x")
    packet = guest.run(guest.packet())
    assert bytes(packet.payload[:2]) == b"\3\3"
    assert bytes(packet.payload[8 + 12 : 8 + 20]) == GUEST + DNS  # the packet that it is about


def test_without_outgoing_nothing_goes_out(echo: socket.socket) -> None:
    guest = UserGuest(outgoing=False)
    guest.send_udp(GATEWAY, (4000, echo.getsockname()[1]), b"x")
    assert bytes(guest.run(guest.packet()).payload[:2]) == b"\3\3"
    guest.close()


def test_a_forwarded_port_of_datagrams(guest: UserGuest) -> None:
    listener = Forward.parse("udp:127.0.0.1:0-7").listen()
    address = listener.getsockname()
    guest.network.udp.forward(listener, 7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.sendto(b"question", address)
        source, ports, data = udp_answer(guest)
        assert (source, ports[1], data) == (GATEWAY, 7, b"question")
        guest.send_udp(GATEWAY, (7, ports[0]), b"answer")
        guest.silent()
        assert client.recvfrom(100) == (b"answer", address)


def test_hostile_frames(guest: UserGuest) -> None:
    """Whatever comes: it goes on."""
    for seed in range(2000):
        chance = random.Random(seed)
        body = bytearray(chance.randbytes(chance.randrange(1, 200)))
        if chance.random() < 0.8:
            body = bytearray(
                b"\x45\0" + struct.pack("!H", len(body)) + bytes(5) + chance.choice((b"\1", b"\6", b"\x11"))
            )
            body += bytes(2) + GUEST + GATEWAY + chance.randbytes(chance.randrange(60))
            body[2:4] = struct.pack("!H", len(body))
            body[10:12] = struct.pack("!H", checksum(body[:20]))
        guest.send(chance.choice((0x0800, 0x86DD, 0x0806, 0x1234)), bytes(body))
        if seed % 50 == 49:
            while not guest.silent():
                continue
    guest.send_udp(BROADCAST, (68, 67), dhcp_message(dhcp.DISCOVER), source=bytes(4))
    assert udp_answer(guest)[1] == (67, 68)


@pytest.mark.parametrize(
    ("target", "port", "found"),
    [
        ("10.0.2.2", 80, ("127.0.0.1", 80)),
        ("10.0.2.3", 53, ("9.9.9.9", 53)),
        ("10.0.2.3", 80, None),
        ("10.0.2.77", 80, None),
        ("127.0.0.1", 80, None),
        ("224.0.0.1", 80, None),
        ("255.255.255.255", 80, None),
        ("192.0.2.1", 80, ("192.0.2.1", 80)),
        ("::1", 80, None),
        ("::ffff:127.0.0.1", 80, None),
        ("fd00::2", 80, ("::1", 80)),
        ("2001:db8::1", 80, ("2001:db8::1", 80)),
    ],
)
def test_where_it_leads(target: str, port: int, found: object) -> None:
    packed = socket.inet_pton(socket.AF_INET6 if ":" in target else socket.AF_INET, target)
    assert host_address(packed, port, ("9.9.9.9", 53)) == found


def test_the_host_s_resolver() -> None:
    assert resolver_of("# a\nnameserver nonsense\nnameserver 192.0.2.7\nnameserver 192.0.2.8\n") == ("192.0.2.7", 53)
    assert resolver_of("search example") is None


@pytest.mark.parametrize(
    "text", ["tcp:127.0.0.1:80", "sctp:127.0.0.1:1-1", "tcp:1.2.3:1-1", "tcp::70000-1", "tcp::1-0"]
)
def test_what_is_no_forward(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        Forward.parse(text)


def test_a_forward_says_what_it_is() -> None:
    assert str(Forward.parse("tcp::8080-80")) == "tcp:127.0.0.1:8080-80"


@pytest.mark.parametrize("parts", [(b"",), (b"\xff\xff",), (b"\0\0",), (b"abcd", b"xyz"), (bytes(range(256)),)])
def test_the_checksum_is_that_of_the_plain_sum(parts: tuple[bytes, ...]) -> None:
    data = b"".join(parts)
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert checksum(*parts) == 0xFFFF - total
