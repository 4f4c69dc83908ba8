"""Leases of a DHCP server made by hand: without an end, and of less than a minute."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from servers.network import _lwip
from servers.network.stack import is_built
from tests.unit.servers.stack_pair import ADDRESSES
from tests.unit.servers.wire import Wire, packet, run_alone

pytestmark = pytest.mark.skipif(
    not is_built(), reason="this tree was built without lwIP's source (make build says why)"
)
UDP = 17
COOKIE = b"\x63\x82\x53\x63"
DISCOVER, OFFER, REQUEST, ACKNOWLEDGE = 1, 2, 3, 5
FOR_EVER = 0xFFFF_FFFF
LEASED = "10.0.0.50"
ANSWERS = {DISCOVER: OFFER, REQUEST: ACKNOWLEDGE}
STEP_MS = 500


def said(wire: Wire) -> list[bytes]:
    """What the stack has said to a server."""
    wire.give()
    frames, wire.others = wire.others, []
    return [each[42:] for each in frames if each[12:14] == b"\x08\x00" and each[23] == UDP]


def kind(message: bytes) -> int:
    return message[242]


def answer(wire: Wire, message: bytes, seconds: int) -> None:
    """Lease it the address for so long."""
    header = b"\x02\x01\x06\x00" + message[4:8] + bytes(8) + ip_address(LEASED).packed + bytes(8) + message[28:44]
    options = b"\x35\x01" + bytes([ANSWERS[kind(message)]]) + b"\x36\x04" + ip_address(ADDRESSES[1]).packed
    options += b"\x33\x04" + struct.pack("!I", seconds) + b"\x01\x04\xff\xff\xff\x00\xff"
    body = header + bytes(192) + COOKIE + options
    udp = struct.pack("!HHHH", 67, 68, 8 + len(body), 0) + body
    wire.stack.input(packet(ADDRESSES[1], LEASED, UDP, udp, 6))


def leased(wire: Wire, seconds: int) -> None:
    wire.interface.start_dhcp()
    for wanted in (DISCOVER, REQUEST):
        (message,) = said(wire)
        assert kind(message) == wanted
        answer(wire, message, seconds)


def live(wire: Wire, seconds: int, lease: int) -> list[int]:
    """Let time go by; what the stack has said meanwhile, each answered by a lease of so many seconds."""
    kinds = []
    for _ in range(seconds * 1000 // STEP_MS):
        _lwip.let_go_by(STEP_MS)
        for message in said(wire):
            kinds.append(kind(message))
            answer(wire, message, lease)
        assert f"{LEASED}/24" in wire.stack.interfaces()[0].addresses
    return kinds


def test_a_lease_that_is_renewed_for_ever_has_no_end() -> None:
    def work(wire: Wire) -> None:
        leased(wire, 600)
        assert live(wire, 310, FOR_EVER) == [REQUEST]
        assert live(wire, 7200, FOR_EVER) == []

    run_alone(work)


@pytest.mark.parametrize("seconds", [0, 10, 59, 60, 89])
def test_a_short_lease_is_renewed_before_its_end(seconds: int) -> None:
    def work(wire: Wire) -> None:
        leased(wire, seconds)
        asked = live(wire, 600, seconds)
        assert set(asked) == {REQUEST}
        assert len(asked) <= 600 // 5

    run_alone(work)
