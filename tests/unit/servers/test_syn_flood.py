"""Who sends SYNs to a port and answers nothing keeps nobody else out for long: the oldest half-open connection that is
silent makes room. Many who come at once reset nobody."""

from __future__ import annotations

import struct
from collections.abc import Generator

import pytest

from servers.network.stack import Stack, is_built
from tests.unit.servers.stack_pair import ADDRESSES, MACS, run_pair
from tests.unit.servers.test_stack import PORT, connected, listening, received, sent, until

pytestmark = pytest.mark.skipif(
    not is_built(), reason="this tree was built without lwIP's source (make build says why)"
)
Work = Generator[None, None, None]
BACKLOG = 64
SOON = 10  # seconds: half of what lwIP waits for an answer to its own


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def syn(number: int) -> bytes:
    """A frame of somebody's on another network who is not there, another one each time."""
    source, target = bytes((192, 0, 2, 1 + number % 250)), bytes(int(part) for part in ADDRESSES[0].split("."))
    segment = struct.pack("!HHIIBBHHH", 1024 + number, PORT, number, 0, 5 << 4, 2, 0xFFFF, 0, 0)
    total = checksum(source + target + struct.pack("!BBH", 0, 6, len(segment)) + segment)
    segment = segment[:16] + total.to_bytes(2, "big") + segment[18:]
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0, source, target)
    header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    return MACS[0] + MACS[1] + b"\x08\x00" + header + segment


def test_a_port_that_was_flooded_with_syns_serves_others_and_goes_on_with_those_it_had() -> None:
    rounds = 2

    def server(stack: Stack) -> Work:
        listener = listening(stack, backlog=BACKLOG)
        yield from until(lambda: listener.readable)
        before = listener.accept()
        assert before is not None
        number = 0
        for _ in range(rounds):
            for _ in range(3 * BACKLOG):
                stack.input(syn(number))
                number += 1
            yield from sent(before, b"now")
            yield from until(lambda: listener.readable)
            sock = listener.accept()
            assert sock is not None
            assert (yield from received(sock)) == b"served?"
            yield from sent(sock, b"served")
            sock.close()
        assert (yield from received(before)) == b"still here"
        before.close()

    def client(stack: Stack) -> Work:
        before = yield from connected(stack)
        for _ in range(rounds):
            assert (yield from received(before, 3)) == b"now"
            sock = stack.stream(4)
            sock.connect(ADDRESSES[0], PORT)
            yield from until(lambda: sock.writable or sock.error, SOON)  # noqa: B023
            assert sock.error is None
            yield from sent(sock, b"served?")
            sock.shutdown(False, True)
            assert (yield from received(sock)) == b"served"
            sock.close()
        yield from sent(before, b"still here")
        before.close()

    run_pair(server, client)


def test_connections_that_nobody_has_accepted_yet_are_not_given_up_for_new_ones() -> None:
    backlog = 4

    def server(stack: Stack) -> Work:
        listener = listening(stack, backlog=backlog)
        yield from until(lambda: listener.readable)
        first = listener.accept()
        assert first is not None
        assert (yield from received(first, 9)) == b"all there"
        for number in range(10 * backlog):
            stack.input(syn(number))
        for _ in range(backlog):
            sock = listener.accept()
            assert sock is not None
            yield from sent(sock, b"kept")
            sock.close()
        first.close()

    def client(stack: Stack) -> Work:
        first = yield from connected(stack)
        socks = []
        for _ in range(backlog):
            sock = yield from connected(stack)
            socks.append(sock)
        yield from sent(first, b"all there")
        for sock in socks:
            assert (yield from received(sock)) == b"kept"
            sock.close()
        first.close()

    run_pair(server, client)


def test_of_many_who_come_at_once_none_is_reset() -> None:
    backlog, many = 32, 40

    def server(stack: Stack) -> Work:
        listener = listening(stack, backlog=backlog)
        for _ in range(many):
            yield from until(lambda: listener.readable)
            sock = listener.accept()
            assert sock is not None
            yield from sent(sock, b"served")
            sock.close()

    def client(stack: Stack) -> Work:
        socks = [stack.stream(4) for _ in range(many)]
        for sock in socks:
            sock.connect(ADDRESSES[0], PORT)
        for sock in socks:
            yield from until(lambda: sock.writable or sock.error)  # noqa: B023
            assert sock.error is None
            assert (yield from received(sock)) == b"served"
            sock.close()

    run_pair(server, client)
