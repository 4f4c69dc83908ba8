"""Capability classes against the ABI table, and what they send."""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable
from typing import Any

import pytest

from libsel4py import capabilities, errors
from libsel4py.abi import INVOCATIONS, Error, Label, LookupFailureKind, ObjectType, Rights
from libsel4py.capabilities import TCB, Capability, CNode, Endpoint, Frame, IOPort, Notification, Untyped, VSpace
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.invoke import invoke, prepare, set_explanations
from libsel4py.lowlevel.syscalls import Completion, Message, machine
from libsel4py.testing import TestSystem, in_background
from libsel4py.testing.fake_objects import FakeEndpoint, FakeNotification, FakeObject, FakeReply

ROWS = list(INVOCATIONS.values())

PLAIN_ROWS = [row for row in ROWS if row.label != Label.TCB_SET_NAME]  # its words are a text


def _method(obj: str, name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(getattr(capabilities, obj), name)
    return found


@pytest.mark.parametrize("row", PLAIN_ROWS, ids=lambda row: f"{row.object}.{row.name}")
def test_every_invocation_is_a_method_with_the_tables_argument_names(row: Any) -> None:
    names = set(inspect.signature(_method(row.object, row.name)).parameters) - {"self"}
    expected = {*row.words, *row.caps}
    if row.variable:
        expected = expected - {"count"} | {"registers"}  # the count is the length of what follows
    assert names == expected


def test_no_class_has_a_method_that_the_table_lacks() -> None:
    table = {(row.object, row.name) for row in ROWS}
    system_calls = {"Endpoint", "Notification", "Reply"}
    for name in capabilities.__all__:
        cls = getattr(capabilities, name)
        if not isinstance(cls, type) or name in {*system_calls, "Capability"}:
            continue
        methods = [each for each, value in vars(cls).items() if inspect.isfunction(value) and not each.startswith("_")]
        assert {(name, each) for each in methods} <= table


@pytest.mark.parametrize("row", PLAIN_ROWS, ids=lambda row: f"{row.object}.{row.name}")
def test_every_method_sends_its_words_and_capabilities_in_the_tables_order(row: Any, fake: TestSystem) -> None:
    """Give each argument a value of its own and look for it where the table puts it."""
    slot = fake.new(FakeObject(row.object))
    fake.kernel.objects.refuse(Label(row.label), Error.ILLEGAL_OPERATION)
    method = _method(row.object, row.name)
    values = {name: index + 1 for index, name in enumerate((*row.words, *row.caps))}
    arguments: dict[str, Any] = {
        name: CNode(value) if name in row.caps else (ObjectType(value) if name == "type" else value)
        for name, value in values.items()
    }
    registers: tuple[int, ...] = ()
    if row.variable:
        del arguments["count"]
        registers = (7, 8)
        arguments["registers"] = registers
        values["count"] = len(registers)
    with pytest.raises(errors.IllegalOperation) as caught:
        method(getattr(capabilities, row.object)(slot), **arguments)
    assert caught.value.invocation == f"{row.object}.{row.name}"
    words = tuple(values[name] for name in row.words) + registers
    assert fake.kernel.objects.invocations == [(slot, row.label, words, tuple(values[name] for name in row.caps))]


def test_a_name_travels_as_four_words_cut_at_a_character(fake: TestSystem) -> None:
    slot = fake.new(FakeObject("TCB"))
    fake.kernel.objects.refuse(Label.TCB_SET_NAME, Error.ILLEGAL_OPERATION)
    with pytest.raises(errors.IllegalOperation):
        TCB(slot).set_name("serial" + "é" * 20)
    (_, label, words, caps), *_ = fake.kernel.objects.invocations
    assert (label, caps) == (Label.TCB_SET_NAME, ())
    assert struct.pack("<4Q", *words) == ("serial" + "é" * 13).encode()


def test_results_come_back(fake: TestSystem) -> None:
    slot = fake.new(FakeObject("TCB"))
    fake.kernel.objects.results[Label.TCB_READ_REGISTERS] = tuple(range(100, 120))
    fake.kernel.objects.results[Label.FRAME_GET_ADDRESS] = (0x4000,)
    assert TCB(slot).read_registers(0, 20) == tuple(range(100, 120))
    assert Frame(slot).get_address() == 0x4000
    assert IOPort(slot).in16(0x3F8) == 0


def test_null_capabilities_are_sent_as_zero(fake: TestSystem) -> None:
    TCB(fake.new(FakeObject("TCB"))).set_space(None, CNode(2), 0, VSpace(3), 0)
    assert fake.kernel.objects.invocations[-1][3] == (0, 2, 3)


@pytest.mark.parametrize(
    ("code", "words", "kind", "attributes"),
    [
        (Error.INVALID_ARGUMENT, (3,), errors.InvalidArgument, {"argument": 3}),
        (Error.INVALID_CAPABILITY, (1,), errors.InvalidCapability, {"capability": 1}),
        (Error.ILLEGAL_OPERATION, (), errors.IllegalOperation, {}),
        (Error.RANGE_ERROR, (1, 256), errors.RangeError, {"minimum": 1, "maximum": 256}),
        (Error.ALIGNMENT_ERROR, (), errors.AlignmentError, {}),
        (Error.TRUNCATED_MESSAGE, (), errors.TruncatedMessage, {}),
        (Error.DELETE_FIRST, (), errors.DeleteFirst, {}),
        (Error.REVOKE_FIRST, (), errors.RevokeFirst, {}),
        (Error.NOT_ENOUGH_MEMORY, (48,), errors.NotEnoughMemory, {"bytes_left": 48}),
        (
            Error.FAILED_LOOKUP,
            (1, LookupFailureKind.GUARD_MISMATCH, 52, 7, 8),
            errors.FailedLookup,
            {"source": True, "kind": LookupFailureKind.GUARD_MISMATCH, "description": (52, 7, 8)},
        ),
    ],
)
def test_refusals_become_exceptions_with_payload_and_explanation(
    fake: TestSystem, code: Error, words: tuple[int, ...], kind: type[errors.KernelError], attributes: dict[str, object]
) -> None:
    slot = fake.new(FakeObject("TCB"))
    fake.kernel.objects.refuse(Label.TCB_SUSPEND, code, *words)
    fake.kernel.explanation = "slot 7 was revoked by root: Größe " + "x" * 300
    with pytest.raises(kind) as caught:
        TCB(slot).suspend()
    assert {name: getattr(caught.value, name) for name in attributes} == attributes
    assert caught.value.error is code
    assert caught.value.explanation == fake.kernel.explanation
    assert str(caught.value).startswith("TCB.suspend: ")
    assert fake.kernel.explanation in str(caught.value)


def test_all_error_codes_have_a_class() -> None:
    assert set(errors.KERNEL_ERRORS) == {code for code in Error if code is not Error.NO_ERROR}


def test_explanations_can_be_switched_off(fake: TestSystem) -> None:
    slot = fake.new(FakeObject("TCB"))
    fake.kernel.objects.refuse(Label.TCB_SUSPEND, Error.ILLEGAL_OPERATION)
    fake.kernel.explanation = "because"
    former = set_explanations(False)
    try:
        with pytest.raises(errors.IllegalOperation) as caught:
            TCB(slot).suspend()
    finally:
        set_explanations(former)
    assert caught.value.explanation == ""


def test_an_unknown_error_code_is_still_a_kernel_error() -> None:
    error = errors.kernel_error(77, (1, 2), "TCB.suspend")
    assert type(error) is errors.KernelError
    assert "77" in str(error)


def test_arguments_are_checked_before_anything_is_sent(fake: TestSystem) -> None:
    with pytest.raises(TypeError, match=r"TCB.set_priority takes priority, authority; check authority"):
        invoke(5, Label.TCB_SET_PRIORITY, priority=3)
    with pytest.raises(ValueError, match="priority=-1 does not fit"):
        prepare(5, Label.TCB_SET_PRIORITY, priority=-1, authority=1)
    with pytest.raises(ValueError, match="does not fit 64 bits"):
        Endpoint(1 << 64)
    assert fake.kernel.system_calls == []


READY = pytest.mark.parametrize("method", [CNode.revoke, CNode.delete])


@READY
def test_a_word_that_does_not_fit_is_named_also_where_the_machine_finds_it(
    method: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trap(*arguments: int) -> Completion:
        raise OverflowError("a signal's handler, or a word")

    monkeypatch.setattr(machine, "trap", trap)
    with pytest.raises(ValueError, match="index=-1 does not fit 64 bits"):
        method(CNode(2), -1)
    with pytest.raises(ValueError, match=f"depth={1 << 64} does not fit 64 bits"):
        method(CNode(2), 5, 1 << 64)
    with pytest.raises(OverflowError, match="handler"):
        method(CNode(2), 5)


@READY
def test_what_is_ready_can_be_queued_and_is_refused_by_its_name(method: Callable[..., None], fake: TestSystem) -> None:
    cnode = fake.first_task.cnode
    with Batch(check=False) as batch:
        waiting = batch.queue(method, cnode, 3000)
        with pytest.raises(ValueError, match="index=-1 does not fit 64 bits"):
            batch.queue(method, cnode, -1)
    assert waiting.result() is None
    fake.kernel.objects.refuse(Label[f"CNODE_{method.__name__.upper()}"], Error.ILLEGAL_OPERATION)
    with pytest.raises(errors.IllegalOperation, match=f"CNode.{method.__name__}"):
        method(cnode, 3000)


def test_equality_is_type_and_address() -> None:
    assert Endpoint(3) == Endpoint(3)
    assert Endpoint(3) != Notification(3)
    assert len({Endpoint(3), Endpoint(3), Untyped(3)}) == 2
    assert repr(Endpoint(3)) == "Endpoint(3)"
    assert Capability(3) != 3


def test_notification_signals_accumulate(fake: TestSystem) -> None:
    slot = fake.new(FakeNotification(), badge=4)
    fake.kernel.objects.derive(slot, 3999, badge=9)
    Notification(slot).signal()
    Notification(3999).signal()
    assert Notification(slot).poll() == 13
    assert Notification(slot).poll() == 0
    with pytest.raises(errors.Timeout):
        Notification(slot).wait(timeout=0)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 119, 120])
def test_raw_messages_of_all_lengths_arrive_whole(fake: TestSystem, length: int) -> None:
    endpoint = Endpoint(fake.new(FakeEndpoint(), badge=11))
    reply = capabilities.Reply(fake.new(FakeReply()))
    words = tuple((1 << 64) - 1 - index for index in range(length))
    call = in_background(endpoint.call, Message(9, words))
    received = endpoint.recv(reply)
    assert (received.badge, received.label, received.words) == (11, 9, words)
    reply.send(Message(10, words[::-1]))
    assert call.result(10).words == words[::-1]


def test_raw_sends_and_timeouts(fake: TestSystem) -> None:
    endpoint = Endpoint(fake.new(FakeEndpoint()))
    reply = capabilities.Reply(fake.new(FakeReply()))
    endpoint.nb_send(Message(1))
    assert endpoint.nb_recv(reply) is None
    for blocking in (
        lambda: endpoint.send(Message(1), timeout=0.0),
        lambda: endpoint.call(Message(1), timeout=0.0),
        lambda: endpoint.recv(reply, timeout=0.0),
    ):
        with pytest.raises(errors.Timeout):
            blocking()
    with pytest.raises(ValueError, match="is negative"):
        endpoint.call(Message(1), timeout=-1)
    with pytest.raises(ValueError, match="does not fit 64 bits"):
        endpoint.call(Message(1, (-1,)))
    with pytest.raises(ValueError, match="does not fit 64 bits"):
        endpoint.call(Message(1, (0, 0, 0, 0, 1 << 64)))


def test_cnode_rights_are_a_word(fake: TestSystem) -> None:
    source = fake.new(FakeEndpoint())
    fake.first_task.cnode.mint(3000, fake.first_task.cnode, source, 7, Rights.READ | Rights.WRITE)
    assert fake.kernel.objects.caps[3000].badge == 7
    assert fake.kernel.objects.invocations[-1][2] == (3000, 64, source, 64, 3, 7)


def test_a_signal_waits_for_nobody_whatever_was_given_as_a_notification(fake: TestSystem) -> None:
    for given in (FakeEndpoint(), FakeReply(), FakeObject("Frame"), FakeNotification()):
        Notification(fake.new(given, badge=4)).signal()
    word = FakeNotification()
    Notification(fake.new(word, badge=4)).signal()
    assert word.word == 4
