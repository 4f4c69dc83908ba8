"""The server loop with real threads, and what hostile or unlucky clients and servers can do to each other."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from libsel4py import (
    Endpoint,
    Interface,
    InvalidMessage,
    KernelError,
    RemoteError,
    Reply,
    ServerDied,
    ServiceError,
    UnknownMethod,
    abi,
)
from libsel4py.capabilities import Notification
from libsel4py.environment import SIGNAL_BADGE, Slot
from libsel4py.errors import TooManyDeferred
from libsel4py.long_results import LONG_RESULTS_PER_CLIENT, LongResults
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message, Received
from libsel4py.server import Server
from libsel4py.testing import Events, TestSystem, connect, in_background
from libsel4py.testing.fake_objects import FakeCap, FakeEndpoint, FakeReply, FakeUntyped
from libsel4py.wire import CONTINUE, IDENTIFY, Outcome
from tests.unit.sdk.services import Middle, Painter, Relay, Studio

SHELL, OTHER, RELAY = 5, 6, 7
PAINT = "tests.unit.sdk.services.OutOfPaint"


class Running:
    """A server on threads of its own, and badged clients for it."""

    def __init__(self, fake: TestSystem, server: Server, endpoint: FakeEndpoint) -> None:
        self.fake, self.server, self.endpoint = fake, server, endpoint

    def client(self, badge: int) -> Endpoint:
        slot = self.fake.slots.allocate()
        self.fake.kernel.objects.caps[slot] = FakeCap(self.endpoint, badge)
        return Endpoint(slot)


@contextmanager
def running(fake: TestSystem, server: Server, endpoint: FakeEndpoint, threads: int = 1) -> Iterator[Running]:
    replies = [Reply(fake.new(FakeReply())) for _ in range(threads)]
    loops = [threading.Thread(target=server.serve, args=(reply,)) for reply in replies]
    for loop in loops:
        loop.start()
    try:
        yield Running(fake, server, endpoint)
    finally:
        server.stop()
        for loop in loops:
            while loop.is_alive():
                fake.kernel.signal(SIGNAL_BADGE | 1 << 40)
                loop.join(0.05)


def _server(fake: TestSystem, painter: Painter) -> tuple[Server, FakeEndpoint]:
    endpoint = FakeEndpoint()
    server = Server(Endpoint(fake.new(endpoint)), fake.first_task, max_deferred=2)
    server.provide(painter, Studio, name="studio", clients={SHELL: "shell", OTHER: "other"})
    server.on_signal(1 << 40, lambda bits: None)
    return server, endpoint


@pytest.fixture
def painter() -> Painter:
    return Painter()


@pytest.fixture
def up(fake: TestSystem, painter: Painter) -> Iterator[Running]:
    with running(fake, *_server(fake, painter)) as made:
        yield made


def test_badges_tell_clients_apart(up: Running) -> None:
    assert Studio(up.client(SHELL)).who() == (SHELL, "shell")
    assert Studio(up.client(OTHER)).who() == (OTHER, "other")
    assert Studio(up.client(99)).who() == (99, "#99")


def test_one_endpoint_can_provide_several_interfaces(fake: TestSystem, painter: Painter) -> None:
    server, endpoint = _server(fake, painter)
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
    server, _ = _server(fake, painter)
    with pytest.raises(ValueError, match="badge 5 of client again is taken"):
        server.provide(painter, Studio, clients={SHELL: "again"})
    with pytest.raises(ValueError, match="badge 5 is shell already"):
        server.add_client(SHELL, "again", Studio)
    with pytest.raises(LookupError, match=r"provide\(\) it first"):
        server.add_client(8, "x", Relay)
    with pytest.raises(TypeError, match=r"does not implement Relay\.add_twice"):
        server.provide(painter, Relay)


def test_many_clients_on_two_server_threads(fake: TestSystem, painter: Painter) -> None:
    server, endpoint = _server(fake, painter)
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
        with pytest.raises(TooManyDeferred, match="2 clients wait for their replies already"):
            studio.wait_for_ring("one too many")
        painter.ring()
        assert {call.result(10) for call in calls} == {f"ring {round_ + 1} for shell"}
    made = [words for _, label, words, _ in fake.kernel.objects.invocations if words[0] == abi.ObjectType.REPLY]
    assert len(made) == 2


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
    tokens = [kept.keep(bytes([index]) * 2000) for index in range(LONG_RESULTS_PER_CLIENT + 1)]
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
    with pytest.raises(InvalidMessage):
        kept.fetch(0, tokens[1], 0)


def test_random_messages_never_end_the_server(up: Running) -> None:
    chooser = random.Random(3)
    client, studio = up.client(SHELL), Studio(up.client(SHELL))
    labels = [*(each.label for each in Studio.interface_methods.values()), IDENTIFY, CONTINUE, 77, 1 << 51]
    slow = {Studio.interface_methods[name].label for name in ("wait_for_ring", "wait_silently")}
    nested = msgspec.msgpack.encode(["x", 1])
    for _ in range(1500):
        label = chooser.choice([each for each in labels if each not in slow])
        body = chooser.choice(
            [chooser.randbytes(chooser.randrange(0, 900)), nested, b"\x91" * 900, b"\xdd\xff\xff\xff\xff"]
        )
        claimed = chooser.choice([len(body), chooser.randrange(1 << 64), 0, 953])
        words = (claimed, *(int.from_bytes(body[at : at + 8], "little") for at in range(0, len(body), 8)))
        answer = client.call(Message(label, words[: chooser.randrange(121)]), timeout=5)
        assert answer.label in set(Outcome)
    assert studio.add(1, 2) == 3


class _RawServer:
    """Answers each call to a stub with one prepared message."""

    def __init__(self, fake: TestSystem, answer: Message) -> None:
        endpoint = FakeEndpoint()
        self.endpoint = Endpoint(fake.new(endpoint, badge=1))
        reply = Reply(fake.new(FakeReply()))

        def step() -> None:
            self.endpoint.nb_recv(reply)
            reply.send(answer)

        fake.kernel.attend(endpoint, step)


def _packed(label: int, value: object) -> Message:
    data = msgspec.msgpack.encode(value)
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]
    return Message(label, (len(data), *words))


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (Message(Outcome.OK, (1, 2)), InvalidMessage, "came with info word"),
        (Message(12345), InvalidMessage, "label 0x3039, which no interface has"),
        (Message(Outcome.SERVER_DIED), ServerDied, "may have been carried out"),
        (Message(abi.Error.INVALID_CAPABILITY, (0,)), KernelError, "the invoked slot is empty"),
        (Message(Outcome.DECLARED), InvalidMessage, "has 0 words"),
        (Message(Outcome.DECLARED, (1 << 60, 1)), InvalidMessage, "claims 1152921504606846976 bytes"),
        (_packed(Outcome.DECLARED, [1, 2]), InvalidMessage, "does not decode"),
        (_packed(Outcome.DECLARED, ["os.system", ["x"], {}, ""]), RemoteError, "system at the server: x"),
        (
            _packed(Outcome.DECLARED, ["tests.unit.sdk.services.OutOfPaint", [], {}, ""]),
            RemoteError,
            "not rebuilt here",
        ),
        (_packed(Outcome.DECLARED, ["tests.unit.sdk.services.OutOfPaint", [[]], {}, ""]), RemoteError, "OutOfPaint"),
        (_packed(Outcome.UNDECLARED, ["KeyError", "k"]), RemoteError, "KeyError at the server: k"),
        (_packed(Outcome.UNKNOWN_METHOD, ["x", "no such"]), UnknownMethod, "no such"),
        (_packed(Outcome.PARTIAL, "x"), InvalidMessage, "info word"),
    ],
)
def test_stubs_take_nothing_from_a_server_on_trust(
    fake: TestSystem, answer: Message, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        Studio(_RawServer(fake, answer).endpoint).add(1, 2)


@pytest.mark.parametrize(
    "answer",
    [
        Message(Outcome.PARTIAL, (3, 5)),
        Message(Outcome.PARTIAL, (20, 1 << 40, 1, 7)),
        Message(Outcome.PARTIAL, (20, 500, 1, 7)),
        Message(Outcome.OK, (8, 0x0A0A0A0A)),
        _packed(Outcome.OK, [1, 2]),
        Message(Outcome.OK, (900, *[0x9191919191919191] * 115)),
    ],
)
def test_stubs_refuse_long_results_that_are_none(fake: TestSystem, answer: Message) -> None:
    with pytest.raises(InvalidMessage):
        Studio(_RawServer(fake, answer).endpoint).repeat("x", 1)


def test_a_capability_that_a_server_sends_unasked_is_deleted(fake: TestSystem) -> None:
    gift = fake.new(FakeUntyped(12))
    fake.first_task.receive.arm()
    before = set(fake.kernel.objects.caps)
    with pytest.raises(InvalidMessage):
        Studio(_RawServer(fake, Message(Outcome.OK, (3,), (gift,))).endpoint).add(1, 2)
    assert {slot for slot in set(fake.kernel.objects.caps) - before if slot > gift + 3} == set()


def test_a_call_on_an_empty_slot_is_a_kernel_error(fake: TestSystem) -> None:
    fake.kernel.explanation = "slot 3000 is empty"
    with pytest.raises(KernelError, match=r"Studio.add: the invoked slot is empty.*slot 3000 is empty"):
        Studio(Endpoint(3000)).add(1, 2)


def test_received_messages_are_plain_values() -> None:
    assert Received(1, 2, (3,), 0, 0, (0, 0, 0)).words == (3,)
    assert syscalls.nanoseconds(None) == -1
    assert syscalls.nanoseconds(0.5) == 500_000_000


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
