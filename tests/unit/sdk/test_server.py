"""The server loop with real threads, and what hostile or unlucky clients and servers can do to each other."""

from __future__ import annotations

import time
from itertools import combinations

import msgspec
import pytest

from libsel4py import (
    Interface,
    InvalidMessage,
    RemoteError,
    ServiceError,
    abi,
)
from libsel4py.capabilities import Notification
from libsel4py.context import Caller, OwedReply, per_thread
from libsel4py.deaths import DEATH_SIGNALS
from libsel4py.environment import (
    HEARTBEAT_SIGNAL,
    SERVER_SIGNAL,
    SIGNAL_BADGE,
    SIGNAL_SOURCES,
    STOP_SIGNAL,
    Slot,
)
from libsel4py.errors import TooManyDeferred
from libsel4py.long_results import MOST_OF_CLIENT, LongResults
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message, Received
from libsel4py.server import Alarm
from libsel4py.testing import Events, TestSystem, connect, in_background
from libsel4py.testing.fake_objects import FakeNotification, FakeUntyped
from libsel4py.wire import IDENTIFY, Outcome
from tests.unit.sdk.running import OTHER, RELAY, SHELL, Running, make_server, running
from tests.unit.sdk.services import Middle, Painter, Relay, Studio


def test_badges_tell_clients_apart(up: Running) -> None:
    assert Studio(up.client(SHELL)).who() == (SHELL, "shell")
    assert Studio(up.client(OTHER)).who() == (OTHER, "other")
    assert Studio(up.client(99)).who() == (99, "#99")


def test_one_endpoint_can_provide_several_interfaces(fake: TestSystem, painter: Painter) -> None:
    server, endpoint = make_server(fake, painter)
    middle = Middle()
    middle.started = 1
    middle._uses = None
    server.provide(middle, clients={RELAY: "relay"})
    with running(fake, server, endpoint) as up:
        assert Studio(up.client(SHELL)).add(1, 1) == 2
        with pytest.raises(RemoteError, match="AttributeError"):
            Relay(up.client(RELAY)).add_twice(1)
        with pytest.raises(InvalidMessage, match="badge 99 is no client of this server"):
            Studio(up.client(99)).add(1, 1)
        server.add_client(100, "late", Studio)
        assert Studio(up.client(100)).who() == (100, "late")
        server.remove_client(100)
        with pytest.raises(InvalidMessage):
            Studio(up.client(100)).who()


def test_clients_are_named_once(fake: TestSystem, painter: Painter) -> None:
    server, _ = make_server(fake, painter)
    with pytest.raises(ValueError, match="badge 5 of client again is taken"):
        server.provide(painter, Studio, clients={SHELL: "again"})
    with pytest.raises(ValueError, match="badge 5 is shell already"):
        server.add_client(SHELL, "again", Studio)
    with pytest.raises(LookupError, match=r"provide\(\) it first"):
        server.add_client(8, "x", Relay)
    with pytest.raises(TypeError, match=r"does not implement Relay\.add_twice"):
        server.provide(painter, Relay)


def test_many_clients_on_two_server_threads(fake: TestSystem, painter: Painter) -> None:
    server, endpoint = make_server(fake, painter)
    with running(fake, server, endpoint, threads=2) as up:
        clients = [Studio(up.client(SHELL)) for _ in range(4)]

        def work(studio: Studio, first: int) -> list[int]:
            return [studio.add(first, number) + len(studio.echo(bytes(number))) for number in range(50)]

        calls = [in_background(work, studio, 1000 * index) for index, studio in enumerate(clients)]
        expected = [[1000 * index + 2 * number for number in range(50)] for index in range(4)]
        assert [call.result(20) for call in calls] == expected


def test_deferred_replies_are_bounded_and_their_objects_reused(up: Running, painter: Painter, fake: TestSystem) -> None:
    studio = Studio(up.client(SHELL))
    for round_ in range(3):
        painter.deferred = Events()
        calls = [in_background(studio.wait_for_ring, "x") for _ in range(2)]
        painter.deferred.wait_for(lambda count: count == 2)
        with pytest.raises(TooManyDeferred, match="2 calls of shell wait for their replies already"):
            studio.wait_for_ring("one too many")
        painter.ring()
        assert {call.result(10) for call in calls} == {f"ring {round_ + 1} for shell"}
    made = [words for _, label, words, _ in fake.kernel.objects.invocations if words[0] == abi.ObjectType.REPLY]
    assert len(made) == 2


def test_who_is_owed_all_that_it_may_leaves_replies_to_others(up: Running, painter: Painter) -> None:
    greedy = Studio(up.client(SHELL))
    calls = [in_background(greedy.wait_for_ring, "x") for _ in range(2)]
    painter.deferred.wait_for(lambda count: count == 2)
    for _ in range(10):
        with pytest.raises(TooManyDeferred, match=r"2 calls of shell .*, and 2 are left to others"):
            greedy.wait_for_ring("one too many")
    for number, badge in enumerate((OTHER, 99), start=3):
        calls.append(in_background(Studio(up.client(badge)).wait_for_ring, "honest"))
        painter.deferred.wait_for(lambda count, number=number: count == number)  # type: ignore[misc]
    with pytest.raises(TooManyDeferred, match="4 calls wait for their replies already"):
        Studio(up.client(98)).wait_for_ring("too late")
    painter.ring()
    assert [call.result(10) for call in calls] == [f"ring 1 for {name}" for name in ("shell", "shell", "other", "#99")]
    assert up.server.owed.count() == 0


def test_a_deferred_value_that_does_not_fit_is_told_to_both(up: Running, painter: Painter) -> None:
    call = in_background(Studio(up.client(SHELL)).wait_for_ring, "x")
    painter.deferred.wait_for(lambda count: count == 1)
    with pytest.raises(TypeError):
        painter.waiting.pop().complete(object())
    with pytest.raises(RemoteError, match="TypeError"):
        call.result(10)


def test_a_deferred_reply_can_fail(up: Running, painter: Painter) -> None:
    call = in_background(Studio(up.client(SHELL)).wait_for_ring, "x")
    painter.deferred.wait_for(lambda count: count == 1)
    painter.waiting.pop().fail(FileNotFoundError("gone"))
    with pytest.raises(RemoteError, match="FileNotFoundError at the server: gone"):
        call.result(10)


def test_deferring_outside_of_a_method_is_refused(painter: Painter) -> None:
    with pytest.raises(RuntimeError, match="only a server method can defer"):
        painter.defer_reply()


def test_signals_reach_their_handlers_and_bad_ones_do_not_end_the_server(
    up: Running, fake: TestSystem, caplog: pytest.LogCaptureFixture
) -> None:
    events: Events[tuple[str, int]] = Events()

    def bad(bits: int) -> None:
        events.add(("bad", bits))
        raise ValueError("in a handler")

    up.server.on_signal(0b0011, lambda bits: events.add(("low", bits)))
    up.server.on_signal(0b0100, bad)
    fake.kernel.objects.derive(Slot.NOTIFICATION, 3998, badge=SIGNAL_BADGE | 0b0110)
    Notification(3998).signal()
    assert events.wait_for(lambda event: event[0] == "low") == ("low", 0b0010)
    assert events.wait_for(lambda event: event[0] == "bad") == ("bad", 0b0100)
    assert Studio(up.client(SHELL)).add(2, 2) == 4
    assert "in a handler" in caplog.text
    up.server.on_signal(0, lambda bits: events.add(("rest", bits)))
    fake.kernel.signal(SIGNAL_BADGE | 0b1000)
    assert events.wait_for(lambda event: event[0] == "rest") == ("rest", 0b1000)


def test_the_loop_answers_heartbeats_and_stops_when_it_is_told_to(up: Running, fake: TestSystem) -> None:
    """Without a line in the component; a signal of the component's own beside them still reaches its handler."""
    events: Events[int] = Events()
    up.server.on_signal(0b0011, events.add)
    pulse = fake.new(FakeNotification())
    fake.kernel.objects.derive(pulse, 3996, badge=1)
    up.server.task.environment = msgspec.structs.replace(up.server.task.environment, pulse=3996)
    fake.kernel.signal(SIGNAL_BADGE | HEARTBEAT_SIGNAL | 0b0001)
    assert events.wait_for(lambda bits: bits == 0b0001)
    assert Notification(pulse).poll() == 1
    fake.kernel.signal(SIGNAL_BADGE | STOP_SIGNAL | 0b0010)
    assert events.wait_for(lambda bits: bits == 0b0010)
    assert up.server.stopping


def test_an_alarm_rings_in_time_and_between_requests(fake: TestSystem, caplog: pytest.LogCaptureFixture) -> None:
    """Also where it raises; requests are answered before, between and behind."""
    rings: Events[int] = Events()
    left = [time.monotonic(), time.monotonic() + 0.01, time.monotonic() + 0.02, float("inf")]

    def ring() -> None:
        left.pop(0)
        rings.add(len(left))
        if len(left) == 2:
            raise ValueError("in an alarm")

    server, endpoint = make_server(fake, Painter())
    server.alarm = Alarm(lambda: left[0], ring)
    with running(fake, server, endpoint) as up:
        studio = Studio(up.client(SHELL))
        assert studio.add(2, 2) == 4
        assert rings.wait_for(lambda rest: rest == 1) == 1
        assert studio.add(2, 3) == 5
    assert "in an alarm" in caplog.text


def test_strangers_can_be_answered_by_hand(up: Running) -> None:
    def fault(badge: int, label: int, words: tuple[int, ...]) -> tuple[int, int, int, int, int] | None:
        if label == 9:
            raise ServiceError("no such fault")
        return abi.message_info(0, 1), badge + sum(words), 0, 0, 0

    up.server.on_stranger(fault)
    assert up.client(70).call(Message(3, (1, 2, 3, 4, 5))).words == (85,)
    assert up.client(70).call(Message(9)).label == Outcome.DECLARED
    assert Studio(up.client(SHELL)).who() == (SHELL, "shell")


def test_unwanted_capabilities_are_deleted(up: Running, fake: TestSystem) -> None:
    client, gift = up.client(SHELL), fake.new(FakeUntyped(12))
    studio = Studio(client)
    studio.lend_named("first", None)
    before = set(fake.kernel.objects.caps)
    for label in (Studio.interface_methods["add"].label, Studio.interface_methods["echo"].label, 9999, IDENTIFY):
        client.call(Message(label, (), (gift,)))
        assert set(fake.kernel.objects.caps) - before <= {gift}
    assert studio.lend_named("after", None) == "after: nothing"


def test_a_servers_own_endpoint_is_no_pool(up: Running) -> None:
    client = up.client(SHELL)
    answer = client.call(Message(Studio.interface_methods["lend"].label, (1,), (client.cptr,)))
    assert answer.label == Outcome.INVALID_MESSAGE


def test_long_results_are_kept_within_bounds() -> None:
    kept = LongResults()
    tokens = [kept.keep(bytes([index]) * 2000) for index in range(MOST_OF_CLIENT + 1)]
    with pytest.raises(InvalidMessage, match="make the call again"):
        kept.fetch(0, tokens[0], 0)
    with pytest.raises(InvalidMessage):
        kept.fetch(1, tokens[1], 0)
    with pytest.raises(InvalidMessage):
        kept.fetch(0, tokens[1], 2000)
    offset, data = 0, b""
    while offset < 2000:
        piece = kept.fetch(0, tokens[1], offset)
        data, offset = data + piece, offset + len(piece)
    assert data == bytes([1]) * 2000
    assert all(kept.fetch(0, token, 0) for token in tokens[2:])
    with pytest.raises(InvalidMessage):
        kept.fetch(0, tokens[1], 0)


def test_one_client_keeps_no_more_bytes_than_it_may() -> None:
    kept = LongResults()
    largest = [kept.keep(bytes([index]) * (1 << 20)) for index in range(6)]
    for token in largest[:2]:
        with pytest.raises(InvalidMessage, match="make the call again"):
            kept.fetch(0, token, 0)
    assert [kept.fetch(0, token, 0)[0] for token in largest[2:]] == [2, 3, 4, 5]


def test_many_threads_of_a_client_have_their_long_results(painter: Painter) -> None:
    with connect(painter) as studio:
        calls = [in_background(studio.repeat, "0123456789", 20_000 + index) for index in range(16)]
        assert [len(call.result(10)) for call in calls] == [20_000 + index for index in range(16)]


class Calling:
    """A client that is served."""

    def __init__(self, badge: int, name: str) -> None:
        self.caller = Caller(badge, name)

    def defer(self) -> OwedReply:
        raise RuntimeError("nothing is deferred here")


def keep(kept: LongResults, badge: int, name: str, data: bytes) -> int:
    former, per_thread.serving = per_thread.serving, Calling(badge, name)
    try:
        return kept.keep(data)
    finally:
        per_thread.serving = former


def test_who_has_many_badges_loses_its_own_long_results_and_nobody_elses() -> None:
    kept = LongResults(most_bytes=10_000)
    mine = keep(kept, 1, "me", b"m" * 3_000)
    theirs = [keep(kept, 10 + number, "greedy", bytes([number]) * 2_000) for number in range(6)]
    assert kept.fetch(1, mine, 0)[:1] == b"m"
    for number in (0, 1, 2):
        with pytest.raises(InvalidMessage):
            kept.fetch(10 + number, theirs[number], 0)
    assert kept.fetch(15, theirs[5], 0)[:1] == b"\5"
    kept.forget(15)
    with pytest.raises(InvalidMessage):
        kept.fetch(15, theirs[5], 0)


def test_received_messages_are_plain_values() -> None:
    assert Received(1, 2, (3,), 0, 0, (0, 0, 0)).words == (3,)
    assert syscalls.nanoseconds(None) == -1
    assert syscalls.nanoseconds(0.5) == 500_000_000


@pytest.mark.parametrize("timeout", [2.0**63 / 1e9, 1e10, 1e300, float("inf"), 10**400])
def test_a_timeout_that_no_clock_can_tell_is_for_ever(timeout: float) -> None:
    assert syscalls.nanoseconds(timeout) == syscalls.FOREVER_NS


def test_the_longest_timeout_is_one() -> None:
    assert syscalls.nanoseconds(9_223_372_036) == 9_223_372_036_000_000_000


@pytest.mark.parametrize("timeout", [-1, -1e-300, float("-inf"), float("nan")])
def test_a_timeout_is_a_number_and_not_negative(timeout: float) -> None:
    with pytest.raises(ValueError, match="negative or no number"):
        syscalls.nanoseconds(timeout)


def test_tokens_of_connect_and_threads_do_not_mix(painter: Painter) -> None:
    with connect(painter) as studio:
        call = in_background(studio.wait_for_ring, "x")
        painter.deferred.wait_for(lambda count: count == 1)
        assert studio.add(3, 4) == 7
        painter.ring()
        assert call.result(10) == "ring 1 for test"


def test_interfaces_without_methods_are_fine() -> None:
    class Nothing(Interface):
        pass

    assert Nothing.interface_methods == {}


def test_no_two_kinds_of_signals_share_a_bit() -> None:
    described = (1 << SIGNAL_SOURCES) - 1
    kinds = (described, DEATH_SIGNALS, STOP_SIGNAL, HEARTBEAT_SIGNAL, SERVER_SIGNAL, SIGNAL_BADGE)
    assert sum(kinds) == (1 << 64) - 1  # and no bit is nobody's
    assert all(one & other == 0 for one, other in combinations(kinds, 2))
