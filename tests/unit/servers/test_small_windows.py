"""Peers with windows of no bytes, and of few: what waits is sent when there is one, and the stack goes on."""

from __future__ import annotations

import pytest

from servers.network import _lwip
from servers.network.stack import is_built
from tests.unit.servers.stack_pair import ADDRESSES
from tests.unit.servers.test_stack import PORT
from tests.unit.servers.test_stack_shares import STEP_MS, Peer, connected, listening
from tests.unit.servers.wire import ACK, SYN, Segment, Wire, run_alone

pytestmark = pytest.mark.skipif(
    not is_built(), reason="this tree was built without lwIP's source (make build says why)"
)
RESENT_MS = 4000  # what nobody has acknowledged has been sent again
SIZE = 1460


def asked(wire: Wire) -> Peer:
    """One that has asked for a connection and has not said that it has one; it has no window."""
    listener = listening(wire)
    (came,) = wire.ask(Segment(ADDRESSES[1], ADDRESSES[0], 1024, PORT, 1000, window=0))
    assert came.flags == SYN | ACK
    return Peer(wire, 0, listener, 1001, came.sequence + 1, window=0)


def pass_time(wire: Wire, milliseconds: int) -> None:
    for _ in range(milliseconds // STEP_MS):
        _lwip.let_go_by(STEP_MS)
        wire.give()


def take_all(peer: Peer, total: int) -> None:
    while peer.taken < total:
        peer.say()
        _lwip.let_go_by(STEP_MS)
    assert peer.taken == total


def test_an_answer_that_was_sent_again_is_acknowledged_without_a_window() -> None:
    def work(wire: Wire) -> None:
        peer = asked(wire)
        pass_time(wire, RESENT_MS)
        peer.say()
        pass_time(wire, RESENT_MS)
        sock = peer.sock.accept()
        assert sock is not None
        sock.send(b"x" * 5000)
        peer.wait(RESENT_MS)
        peer.window = 1000
        take_all(peer, 5000)

    run_alone(work)


def test_what_was_sent_again_is_acknowledged_without_a_window() -> None:
    def work(wire: Wire) -> None:
        peer = connected(wire, listening(wire), 0)
        total = peer.sock.send(b"x" * 3 * SIZE)
        pass_time(wire, RESENT_MS)  # all of it is to be sent again, one at first
        peer.window = 0
        for taken in (SIZE, total):
            peer.taken = taken
            peer.say()
        pass_time(wire, RESENT_MS)
        total += peer.sock.send(b"y" * 1000)
        peer.window = 0xFFFF
        take_all(peer, total)

    run_alone(work)


@pytest.mark.parametrize("window", [1, 2, 3, 100, 1999])
def test_a_first_window_that_is_smaller_than_what_waits(window: int) -> None:
    def work(wire: Wire) -> None:
        peer = asked(wire)
        peer.say()
        sock = peer.sock.accept()
        assert sock is not None
        total = sock.send(b"x" * 1000)
        peer.window = window
        peer.say()
        total += sock.send(b"y" * 100)
        pass_time(wire, RESENT_MS)
        peer.window = 2000
        take_all(peer, total)

    run_alone(work)
