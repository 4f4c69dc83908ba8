"""Who sends SYNs to a port and answers nothing keeps nobody else out. Many who come at once reset nobody."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from servers.network.stack import Stack, TcpSocket, is_built
from tests.unit.servers.stack_pair import ADDRESSES, SIX, run_pair
from tests.unit.servers.test_stack import PORT, connected, exchange, listening, received, sent, until
from tests.unit.servers.wire import beside_a_flood, forged

pytestmark = pytest.mark.skipif(
    not is_built(), reason="this tree was built without lwIP's source (make build says why)"
)
Work = Generator[None, None, None]
BACKLOG = 64
SOON = 2.5  # seconds: before a client sends its SYN again, after 3


def syn(number: int) -> bytes:
    return forged(number, ADDRESSES[0], PORT).frame()


def soon_connected(stack: Stack, host: str) -> Generator[None, None, TcpSocket]:
    sock = stack.stream(6 if ":" in host else 4)
    sock.connect(host, PORT)
    yield from until(lambda: sock.writable or sock.error, SOON)
    assert sock.error is None
    return sock


@pytest.mark.parametrize("host", [ADDRESSES[0], SIX[0]], ids=["IPv4", "IPv6"])
def test_while_a_port_is_flooded_others_come_and_bytes_go_both_ways(host: str) -> None:
    server, client = exchange(1 << 20, host, soon_connected)
    run_pair(beside_a_flood(server, host, PORT), client)


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
