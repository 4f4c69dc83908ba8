"""Packets that end amid a header, or an option, are dropped. That nothing behind them is read is seen by
AddressSanitizer alone (`test_stack_sanitized`)."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from servers.network.stack import is_built
from tests.unit.servers.stack_pair import MACS, SIX
from tests.unit.servers.test_stack import PORT
from tests.unit.servers.test_stack_shares import connected, listening
from tests.unit.servers.wire import Wire, run_alone

pytestmark = pytest.mark.skipif(
    not is_built(), reason="this tree was built without lwIP's source (make build says why)"
)
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
NOTHING_BEHIND = 59
IP4, IP6 = b"\x08\x00", b"\x86\xdd"


def packet6(kind: int, body: bytes) -> bytes:
    ends = ip_address(SIX[1]).packed + ip_address(SIX[0]).packed
    return MACS[0] + MACS[1] + IP6 + struct.pack("!IHBB", 6 << 28, len(body), kind, 64) + ends + body


def test_the_stack_goes_on_behind_them() -> None:
    def work(wire: Wire) -> None:
        for kind in (IP4, IP6, b"\x08\x06"):
            for size in range(60):
                wire.give(MACS[0] + MACS[1] + kind + b"\x60" * size)
        for header in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION):
            for size in range(9):
                wire.give(packet6(header, bytes((NOTHING_BEHIND, 0, 1, 3, 0, 0, 0, 1, 0))[:size]))
        peer = connected(wire, listening(wire), PORT)
        peer.sock.send(b"as ever")
        peer.say()
        assert peer.taken == len(b"as ever")

    run_alone(work)
