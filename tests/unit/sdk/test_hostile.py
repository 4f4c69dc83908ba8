# mypy: disable-error-code="empty-body"
"""What hostile or unlucky clients and servers can do to each other: nothing but clean errors."""

from __future__ import annotations

import random

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
    UnknownMethod,
    Untyped,
    Word,
    WrongAnswer,
    abi,
)
from libsel4py.lowlevel.machine import Completion
from libsel4py.lowlevel.syscalls import Message, machine
from libsel4py.stub import ask
from libsel4py.testing import TestSystem
from libsel4py.testing.fake_objects import FakeEndpoint, FakeReply, FakeUntyped
from libsel4py.wire import CONTINUE, IDENTIFY, Outcome
from tests.unit.sdk.running import SHELL, Running
from tests.unit.sdk.services import Studio


class Measured(Interface):
    def measure(self) -> tuple[Word, Untyped]: ...


PAINT = "tests.unit.sdk.services.OutOfPaint"


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
        (Message(Outcome.OK, (1, 2)), WrongAnswer, "came with info word"),
        (Message(12345), WrongAnswer, "label 0x3039, which no interface has"),
        (Message(Outcome.SERVER_DIED), ServerDied, "may have been carried out"),
        (Message(abi.Error.INVALID_CAPABILITY, (0,)), KernelError, "the invoked slot is empty"),
        (Message(Outcome.DECLARED), WrongAnswer, "has 0 words"),
        (Message(Outcome.DECLARED, (1 << 60, 1)), WrongAnswer, "claims 1152921504606846976 bytes"),
        (_packed(Outcome.DECLARED, [1, 2]), WrongAnswer, "does not decode"),
        (_packed(Outcome.DECLARED, ["os.system", ["x"], {}, ""]), RemoteError, "system at the server: x"),
        (
            _packed(Outcome.DECLARED, ["tests.unit.sdk.services.OutOfPaint", [], {}, ""]),
            RemoteError,
            "not rebuilt here",
        ),
        (_packed(Outcome.DECLARED, ["tests.unit.sdk.services.OutOfPaint", [[]], {}, ""]), RemoteError, "OutOfPaint"),
        (_packed(Outcome.UNDECLARED, ["KeyError", "k"]), RemoteError, "KeyError at the server: k"),
        (_packed(Outcome.UNKNOWN_METHOD, ["x", "no such"]), UnknownMethod, "no such"),
        (_packed(Outcome.PARTIAL, "x"), WrongAnswer, "info word"),
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
    with pytest.raises(WrongAnswer):
        Studio(_RawServer(fake, answer).endpoint).repeat("x", 1)


@pytest.mark.parametrize(
    "answer",
    [_packed(Outcome.INVALID_MESSAGE, ["x", "what you said"]), _packed(Outcome.UNKNOWN_METHOD, ["x", "none such"])],
)
def test_what_a_server_says_of_the_request_is_no_wrong_answer(fake: TestSystem, answer: Message) -> None:
    with pytest.raises(InvalidMessage) as refused:
        Studio(_RawServer(fake, answer).endpoint).add(1, 2)
    assert not isinstance(refused.value, WrongAnswer)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_is_interrupted_where_a_capability_has_come_receives_the_next_one(
    fake: TestSystem, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    gift = fake.new(FakeUntyped(12))
    packed = _packed(Outcome.OK, [7])
    client = Measured(_RawServer(fake, Message(packed.label, packed.words, (gift,))).endpoint)
    trap = machine.kernel_trap

    def interrupted(*arguments: int) -> Completion:
        trap(*arguments)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(machine, "kernel_trap", interrupted)
        with pytest.raises(error):
            client.measure()
    assert client.measure()[0] == 7


def test_a_word_in_bytes_is_never_negative(fake: TestSystem) -> None:
    gift = fake.new(FakeUntyped(12))
    fake.first_task.receive.arm()
    answer = _packed(Outcome.OK, [-1])
    with pytest.raises(WrongAnswer, match="does not decode"):
        Measured(_RawServer(fake, Message(answer.label, answer.words, (gift,))).endpoint).measure()


def is_empty(fake: TestSystem) -> bool:
    """Whether nothing stands where the next capability that is wanted is to come."""
    return fake.first_task.receive.slot not in fake.kernel.objects.caps


def test_a_capability_that_a_server_sends_unasked_is_deleted(fake: TestSystem) -> None:
    gift = fake.new(FakeUntyped(12))
    fake.first_task.receive.arm()
    with pytest.raises(InvalidMessage):
        Studio(_RawServer(fake, Message(Outcome.OK, (3,), (gift,))).endpoint).add(1, 2)
    assert is_empty(fake)


@pytest.mark.parametrize("label", [Outcome.UNDECLARED, Outcome.PARTIAL, 12345])
def test_a_capability_that_comes_with_a_failure_is_deleted(fake: TestSystem, label: int) -> None:
    gift = fake.new(FakeUntyped(12))
    failure = _packed(label, ["KeyError", "k"])
    fake.first_task.receive.arm()
    with pytest.raises((RemoteError, InvalidMessage)):
        Measured(_RawServer(fake, Message(failure.label, failure.words, (gift,))).endpoint).measure()
    assert is_empty(fake)


def test_a_capability_that_comes_with_an_identity_or_a_piece_is_deleted(fake: TestSystem) -> None:
    gift = fake.new(FakeUntyped(12))
    fake.first_task.receive.arm()
    answer = _packed(Outcome.OK, "x")
    with pytest.raises(InvalidMessage, match="nobody asked for"):
        ask(Studio(_RawServer(fake, Message(answer.label, answer.words, (gift,))).endpoint), IDENTIFY)
    with pytest.raises(InvalidMessage):
        Studio(_RawServer(fake, Message(Outcome.PARTIAL, (20, 1, 1, 7), (gift,))).endpoint).repeat("x", 1)
    assert is_empty(fake)


def test_what_comes_unasked_never_lands_in_a_slot_that_was_received_into_and_freed(fake: TestSystem) -> None:
    task, gift = fake.first_task, fake.new(FakeUntyped(12))
    answer = _packed(Outcome.OK, [1])
    server = _RawServer(fake, Message(answer.label, answer.words, (gift,)))
    _, untyped = Measured(server.endpoint).measure()
    assert untyped.cptr in fake.kernel.objects.caps
    task.delete(untyped)
    received = server.endpoint.call(Message(1))  # by itself, without a slot that is armed
    assert received.extra_caps == 0
    task.receive.discard()
    slot = task.slots.allocate()
    assert slot not in fake.kernel.objects.caps


def test_a_call_on_an_empty_slot_is_a_kernel_error(fake: TestSystem) -> None:
    fake.kernel.explanation = "slot 3000 is empty"
    with pytest.raises(KernelError, match=r"Studio.add: the invoked slot is empty.*slot 3000 is empty"):
        Studio(Endpoint(3000)).add(1, 2)
