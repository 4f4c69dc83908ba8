"""Who asks for a connection at a port that others flood with SYNs is answered by a cookie, of which nothing is kept;
the cookie, brought back, is a connection, and nothing else is."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from servers.network import _lwip
from servers.network.stack import TcpSocket, is_built
from tests.unit.servers.stack_pair import ADDRESSES, SIX
from tests.unit.servers.test_stack import PORT
from tests.unit.servers.wire import (
    ACK,
    FIN,
    FLOOD,
    LINUX_OPTIONS,
    MSS,
    PSH,
    RST,
    SACK_PERMITTED,
    SEQUENCE,
    SYN,
    WINDOW_SCALE,
    Segment,
    Wire,
    answer_to,
    run_alone,
)
from tests.unit.servers.wire import forged as wire_forged

pytestmark = pytest.mark.skipif(
    not is_built(), reason="this tree was built without lwIP's source (make build says why)"
)
BACKLOG = 8
STEP_MS = 64_000
GIVEN_UP_SECONDS = 20
HERE = {4: ADDRESSES[0], 6: SIX[0]}
AWAY = {4: "198.51.100.7", 6: "2001:db8:1::7"}
NEAR = {4: ADDRESSES[1], 6: SIX[1]}
VERSIONS = pytest.mark.parametrize("version", [4, 6])
FOLDER = Path(__file__).resolve().parents[3] / "servers" / "network" / "_lwip"


def listening(wire: Wire, version: int = 4, port: int = PORT, backlog: int = BACKLOG) -> TcpSocket:
    listener = wire.stack.stream(version)
    listener.bind("0.0.0.0" if version == 4 else "::", port)
    listener.listen(backlog)
    return listener


def forged(number: int, version: int = 4, port: int = PORT, near: bool = False) -> Segment:
    return wire_forged(number, HERE[version], port, near)


def asking(version: int = 4, port: int = PORT, number: int = 0, options: bytes = LINUX_OPTIONS) -> Segment:
    """The SYN of a peer who is there."""
    sequence = 0xFFFF_FFF0 + number  # comes round at once
    return Segment(NEAR[version], HERE[version], 40_000 + number, port, sequence % SEQUENCE, option_bytes=options)


def flooded(wire: Wire, version: int = 4, first: int = 0) -> TcpSocket:
    """One that listens, with as many half-open connections as it has room for."""
    listener = listening(wire, version)
    for number in range(BACKLOG):
        assert len(wire.ask(forged(first + number, version))) == 1
    return listener


def cookie(wire: Wire, syn: Segment) -> Segment:
    """The answer to a SYN, which is a cookie."""
    (came,) = wire.ask(syn)
    assert came.flags == SYN | ACK
    assert (came.source, came.target) == (syn.target, syn.source)
    assert (came.source_port, came.target_port) == (syn.target_port, syn.source_port)
    assert came.acknowledged == (syn.sequence + 1) % SEQUENCE
    assert set(came.options) == {MSS}
    assert came.window == 0xFFFF
    return came


def resets(wire: Wire, segment: Segment) -> None:
    """The stack answers this by a reset, as anything that it knows nothing of."""
    (came,) = wire.ask(segment)
    assert came.flags & RST
    assert came.sequence == segment.acknowledged % SEQUENCE


@VERSIONS
def test_options_are_there_while_there_is_room_and_behind_that_a_segment_size_is(version: int) -> None:
    def work(wire: Wire) -> None:
        listening(wire, version)
        for number in range(BACKLOG):
            (came,) = wire.ask(forged(number, version))
            assert set(came.options) == {MSS, WINDOW_SCALE, SACK_PERMITTED}
        offered = came.options[MSS]
        for number in range(BACKLOG, 100):
            assert cookie(wire, forged(number, version)).options[MSS] == offered

    run_alone(work)


@VERSIONS
def test_behind_ten_thousand_who_never_answer_another_is_served_at_once(version: int) -> None:
    def work(wire: Wire) -> None:
        listener = listening(wire, version, backlog=64)
        flood = [forged(number, version) for number in range(FLOOD)]
        wire.give(*flood[: FLOOD // 2])
        (came,) = wire.ask(asking(version))
        wire.give(*flood[FLOOD // 2 :])
        wire.give(answer_to(came, b"question", ACK | PSH))
        sock = listener.accept()
        assert sock is not None
        assert sock.recv(100) == b"question"
        sock.send(b"answer")
        assert b"answer" in {each.data for each in wire.give()}
        assert listener.accept() is None

    run_alone(work)


@VERSIONS
def test_a_cookie_makes_a_connection_of_the_ack_and_its_data(version: int) -> None:
    def work(wire: Wire) -> None:
        listener = flooded(wire, version)
        for number, flags in enumerate((ACK, ACK | PSH, ACK | PSH | FIN)):
            data = b"" if flags == ACK else b"question"
            reply = answer_to(cookie(wire, asking(version, number=number)), data, flags)
            assert not listener.readable
            wire.give(reply)
            sock = listener.accept()
            assert sock is not None
            assert sock.peer == (NEAR[version], 40_000 + number)
            assert sock.local == (HERE[version], PORT)
            if not data:
                wire.give(replace(reply, data=b"question"))
            assert sock.recv(100) == b"question"
            assert sock.send(b"answer" * 1000) == 6000
            answers = wire.give()
            assert answers[0].acknowledged == (reply.sequence + 8 + bool(flags & FIN)) % SEQUENCE
            got = b"".join(each.data for each in answers)
            assert got
            assert (b"answer" * 1000).startswith(got)
            sock.close()

    run_alone(work)


def test_segments_are_no_longer_than_the_peer_has_said() -> None:
    def work(wire: Wire) -> None:
        listener = flooded(wire)
        told = {b"": 536, b"\2\4\2\0": 536, b"\2\4\5\xb4": 1460, b"\1\1\2\4\5\x94": 1220, b"\2\4\xff\xff": 1460}
        broken = {b"\2\0\5\xb4": 536, b"\1\1\1\2": 536, b"\3\xff\2\4": 536, b"\0\0\0\0\2\4\5\xb4": 536}
        for number, (options, size) in enumerate((told | broken).items()):
            options += bytes(-len(options) % 4)
            wire.give(answer_to(cookie(wire, asking(number=number, options=options))))
            sock = listener.accept()
            assert sock is not None
            sock.send(bytes(20_000))
            assert max(len(each.data) for each in wire.give()) == size
            sock.abort()
            wire.give()

    run_alone(work)


def test_what_is_repeated_is_of_the_same_connection() -> None:
    """SYNs are, and ACKs with and without data."""

    def work(wire: Wire) -> None:
        listener = flooded(wire)
        came = cookie(wire, asking())
        assert cookie(wire, asking()) == came
        said = answer_to(came, b"question", ACK | PSH)
        for each in (answer_to(came), answer_to(came), said, answer_to(came), said):
            assert not any(sent.flags & RST for sent in wire.give(each))
        sock = listener.accept()
        assert sock is not None
        assert listener.accept() is None
        assert sock.recv(100) == b"question"
        assert sock.recv(100) is None

    run_alone(work)


def test_a_syn_that_is_repeated_when_there_is_room_again_costs_its_sender_nothing() -> None:
    """The first one's answer was a cookie, the second one's was not, and the cookie is what comes back."""

    def work(wire: Wire) -> None:
        listener = flooded(wire)
        came = cookie(wire, asking())
        wire.give(replace(forged(0), flags=RST, sequence=forged(0).sequence + 1))
        (second,) = wire.ask(asking())
        assert WINDOW_SCALE in second.options
        assert not any(sent.flags & RST for sent in wire.give(answer_to(came, b"question", ACK | PSH)))
        sock = listener.accept()
        assert sock is not None
        assert sock.recv(100) == b"question"
        resets(wire, replace(answer_to(came), source_port=1))  # others' half-open ones are as they were
        (third,) = wire.ask(asking(number=1))
        assert WINDOW_SCALE in third.options

    run_alone(work)


@VERSIONS
def test_forged_acks_make_no_connection(version: int) -> None:
    def work(wire: Wire) -> None:
        listener = flooded(wire, version)
        chance = random.Random(1)
        came = cookie(wire, asking(version))
        good = answer_to(came)
        for _ in range(2000):
            resets(wire, replace(good, acknowledged=chance.getrandbits(32)))
        for changed in (
            replace(good, source_port=good.source_port + 1),
            replace(good, sequence=good.sequence + 1),
            replace(good, acknowledged=good.acknowledged - 8),
            replace(good, source=AWAY[version]),
        ):
            resets(wire, changed)
        assert wire.give(good.frame(spoil=1)) == []  # its checksum is wrong
        assert wire.ask(replace(good, flags=RST)) == []
        assert wire.ask(replace(good, flags=RST | ACK)) == []
        assert not listener.readable
        wire.give(good)
        assert listener.readable

    run_alone(work)


def test_without_a_flood_no_ack_makes_a_connection() -> None:
    def work(wire: Wire) -> None:
        listener = listening(wire)
        chance = random.Random(2)
        for _ in range(1000):
            resets(wire, replace(asking(), flags=ACK, acknowledged=chance.getrandbits(32)))
        assert not listener.readable

    run_alone(work)


def test_a_cookie_is_good_for_a_step_of_time_and_no_longer_than_two() -> None:
    def work(wire: Wire) -> None:
        listener = flooded(wire)
        reply = answer_to(cookie(wire, asking()))
        old = answer_to(cookie(wire, asking(number=1)))
        _lwip.let_go_by(STEP_MS)
        wire.give(reply)
        assert listener.accept() is not None
        _lwip.let_go_by(STEP_MS)
        resets(wire, old)  # also where no cookie has been made since
        wire.give(*(forged(number) for number in range(100, 200)))
        cookie(wire, asking(number=2))
        resets(wire, old)
        assert not listener.readable

    run_alone(work)


def test_a_cookie_is_of_one_socket_as_long_as_that_listens() -> None:
    def work(wire: Wire) -> None:
        first = flooded(wire)
        reply = answer_to(cookie(wire, asking()))
        other = listening(wire, port=PORT + 1)
        wire.give(*(forged(number, port=PORT + 1) for number in range(2 * BACKLOG)))
        cookie(wire, asking(port=PORT + 1))
        resets(wire, replace(reply, target_port=PORT + 1))
        first.close()
        resets(wire, reply)
        second = flooded(wire, first=1000)
        cookie(wire, asking(number=1))
        resets(wire, reply)
        assert not other.readable
        assert not second.readable

    run_alone(work)


def test_connections_that_nobody_accepts_are_bounded_and_who_is_too_many_is_let_in_later() -> None:
    def work(wire: Wire) -> None:
        listener = flooded(wire)
        replies = [answer_to(cookie(wire, asking(number=number)), b"question", ACK | PSH) for number in range(20)]
        for reply in replies:
            assert not any(sent.flags & RST for sent in wire.give(reply))
        assert wire.ask(asking(number=100)) == []  # a cookie would promise too much
        for number in range(BACKLOG):
            sock = listener.accept()
            assert sock is not None
            assert sock.peer[1] == 40_000 + number
        assert listener.accept() is None
        for reply in replies[BACKLOG : 2 * BACKLOG]:
            wire.give(reply)
            sock = listener.accept()
            assert sock is not None
            assert sock.recv(100) == b"question"

    run_alone(work)


def test_what_was_sent_behind_one_that_had_no_room_is_not_reset() -> None:
    """Its sender takes itself for connected, and sends all that its window takes."""

    def work(wire: Wire) -> None:
        listener = flooded(wire)
        replies = [answer_to(cookie(wire, asking(number=number)), b"question", ACK | PSH) for number in range(20)]
        wire.give(*replies)
        for first in replies[2 * BACKLOG :]:
            behind = replace(first, sequence=(first.sequence + len(first.data)) % SEQUENCE, data=b" and more")
            assert wire.ask(behind) == []
            while listener.accept() is not None:
                pass
            wire.give(first)
            wire.give(behind)
            sock = listener.accept()
            assert sock is not None
            assert sock.recv(100) == b"question and more"
        _lwip.let_go_by(5000)
        resets(wire, replace(replies[0], source_port=1))

    run_alone(work)


def test_of_those_who_were_half_open_none_is_reset_for_those_who_bring_cookies() -> None:
    def work(wire: Wire) -> None:
        listener = listening(wire)
        first = [wire.ask(asking(number=number))[0] for number in range(BACKLOG)]
        others = [cookie(wire, asking(number=number)) for number in range(BACKLOG, 2 * BACKLOG)]
        for came in others + first:
            assert not any(sent.flags & RST for sent in wire.give(answer_to(came)))
        ports = []
        while (sock := listener.accept()) is not None:
            ports.append(sock.peer[1])
        assert sorted(ports) == [40_000 + number for number in range(2 * BACKLOG)]

    run_alone(work)


@VERSIONS
def test_nobody_is_looked_for_among_the_neighbours_to_be_answered_by_a_cookie(version: int) -> None:
    def work(wire: Wire) -> None:
        listener = flooded(wire, version)
        asked, sender = wire.asked, bytes((2, 0, 0, 0, 0, 9))
        for number in range(1000):
            assert len(wire.ask(forged(number, version, near=True), sender)) == 1
        assert wire.asked == asked
        assert wire.ask(forged(0, version, near=True), b"\1" + sender[1:]) == []  # no answer goes to a group
        wire.give(answer_to(cookie(wire, asking(version))))
        assert listener.readable

    run_alone(work)


@pytest.mark.parametrize("host", ["127.0.0.1", HERE[4], HERE[6]])
def test_a_socket_of_the_same_stack_is_connected_by_a_cookie_as_well(host: str) -> None:
    def work(wire: Wire) -> None:
        version = 6 if ":" in host else 4
        listener = flooded(wire, version)
        client = wire.stack.stream(version)
        client.connect(host, PORT)
        wire.give()
        assert client.writable
        client.send(b"question")
        wire.give()
        sock = listener.accept()
        assert sock is not None
        assert sock.recv(100) == b"question"

    run_alone(work)


def test_a_flood_of_many_ports_leaves_connections_to_others() -> None:
    """lwIP has 2,048, of which 33 ports would take all, half open."""

    def work(wire: Wire) -> None:
        ports, backlog = 40, 64
        for port in range(ports):
            listening(wire, port=PORT + port, backlog=backlog)
        for port in range(ports):
            wire.give(*(forged(number, port=PORT + port) for number in range(backlog)))
        listener = listening(wire, port=PORT + ports)
        wire.give(answer_to(cookie(wire, asking(port=PORT + ports)), b"question", ACK | PSH))
        sock = listener.accept()
        assert sock is not None
        assert sock.recv(100) == b"question"

    run_alone(work)


def test_a_port_that_was_flooded_offers_options_again() -> None:
    """Soon: those who were half open and silent make room, and not when lwIP gives them up by itself."""

    def work(wire: Wire) -> None:
        flooded(wire)
        until, cookies = time.monotonic() + GIVEN_UP_SECONDS / 2, 0
        while set(wire.ask(forged(cookies, near=True))[0].options) == {MSS}:
            assert time.monotonic() < until
            cookies += 1
        assert cookies > 0

    run_alone(work)


def test_the_hash_is_siphash_2_4(tmp_path: Path) -> None:
    """What its authors publish for the bytes 0, 1, … with the key 0, 1, … 15."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source = tmp_path / "hash.c"
    source.write_text("""
        #include "siphash.h"
        #include <stdio.h>
        int main(void)
        {
            const uint64_t key[] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
            for (unsigned count = 0; count < 3; count++)
                printf("%016llx\\n", (unsigned long long)siphash(key, key, count));
        }
    """)
    subprocess.run([compiler, "-I", str(FOLDER), "-o", str(tmp_path / "hash"), str(source)], check=True)
    said = subprocess.run([tmp_path / "hash"], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["726fdb47dd0e0e31", "93f5f5799a932462", "3f2acc7f57c29bdb"]
