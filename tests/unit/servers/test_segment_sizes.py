"""The largest segment that a peer takes is what its SYN says. What it says of it in any other segment is nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servers.network import _lwip
from servers.network.stack import is_built
from tests.unit.servers.stack_pair import ADDRESSES
from tests.unit.servers.test_stack import PORT
from tests.unit.servers.test_stack_shares import STEP_MS, connected, listening, send_all
from tests.unit.servers.wire import ACK, LINUX_OPTIONS, RST, SEQUENCE, SYN, Segment, Wire, answer_to, run_alone

pytestmark = pytest.mark.skipif(
    not is_built(), reason="this tree was built without lwIP's source (make build says why)"
)
SMALL, LARGE = b"\x02\x04\x00\x10", b"\x02\x04\xff\xc8"
SIZE, LEAST = 1460, 48


@pytest.mark.parametrize("astray", [0, 1 << 30])
@pytest.mark.parametrize("options", [SMALL, LARGE, b"\x02\x04\x00\x00"])
def test_one_that_comes_amid_a_connection_changes_nothing(options: bytes, astray: int) -> None:
    def work(wire: Wire) -> None:
        peer = connected(wire, listening(wire), 0)
        total = peer.sock.send(b"x" * 60_000)
        peer.say()  # most of it waits
        ends = (ADDRESSES[1], ADDRESSES[0], 1024, PORT, (peer.next + astray) % SEQUENCE, peer.first)
        wire.give(Segment(*ends, ACK, option_bytes=options))
        total += peer.sock.send(b"y" * 1000)
        while peer.taken < total:
            assert all(len(each.data) <= SIZE for each in peer.say())
            _lwip.let_go_by(STEP_MS)

    run_alone(work)


def test_a_syn_that_comes_again_changes_nothing() -> None:
    def work(wire: Wire) -> None:
        listener = listening(wire)
        syn = Segment(ADDRESSES[1], ADDRESSES[0], 1024, PORT, 1000, option_bytes=LARGE)
        (came,) = wire.ask(syn)
        wire.ask(syn)
        wire.give(answer_to(came))
        sock = listener.accept()
        assert sock is not None
        send_all(sock)
        assert {len(each.data) for each in wire.give()} == {SIZE}

    run_alone(work)


@pytest.mark.parametrize(
    "options", [SMALL, b"\x01" * 4 + b"\x02\x04\x00\x01", b"\x02\x04\x00\x30", LINUX_OPTIONS[4:] + SMALL]
)
def test_a_size_below_the_least_is_that(options: bytes) -> None:
    def work(wire: Wire) -> None:
        listener = listening(wire)
        (came,) = wire.ask(Segment(ADDRESSES[1], ADDRESSES[0], 1024, PORT, 1000, option_bytes=options))
        wire.give(answer_to(came))
        sock = listener.accept()
        assert sock is not None
        send_all(sock)
        assert {len(each.data) for each in wire.give()} == {LEAST}
        asking = wire.stack.stream(4)
        asking.connect(ADDRESSES[1], PORT)
        asked = wire.give()[-1]
        wire.give(replace(answer_to(asked, flags=SYN | ACK), option_bytes=options))
        assert asking.writable
        send_all(asking)
        assert LEAST in {len(each.data) for each in wire.give() if each.source_port == asked.source_port} <= {LEAST, 0}

    run_alone(work)


@pytest.mark.parametrize("flags", [SYN, ACK, SYN | ACK | RST, SYN | ACK])
def test_before_the_answer_to_a_syn_none_counts(flags: int) -> None:
    def work(wire: Wire) -> None:
        sock = wire.stack.stream(4)
        sock.connect(ADDRESSES[1], PORT)
        (asked,) = wire.give()
        ports = asked.target_port, asked.source_port
        wire.give(Segment(asked.target, asked.source, *ports, 5, 7, flags, option_bytes=SMALL))
        wire.give(replace(answer_to(asked, flags=SYN | ACK), option_bytes=LINUX_OPTIONS))
        assert sock.writable
        send_all(sock)
        assert {len(each.data) for each in wire.give()} == {SIZE}

    run_alone(work)
