"""Error codes that all methods share: truncated messages, unknown labels, capabilities that cannot be invoked."""

from __future__ import annotations

import pytest

from libsel4py.abi import Error, Label, Syscall
from tests.conformance.refusals import WORKING, Refusal, Stock
from tests.conformance.scenes import got
from tests.harness import Machine

WITH_WORDS = [label for label, working in WORKING.items() if working.words]
WITH_CAPS = [label for label, working in WORKING.items() if working.caps]
INVOKED = ["untyped", "thread", "root", "irq_control", "handler", "domain", "sched_control", "context", "frame"]
INVOKED += ["vspace", "port_control", "ports"]
OBJECT_OF = {label: working.cptr for label, working in WORKING.items()}
FAMILY = {"tcb": "thread", "thread_context": "context"}


@pytest.fixture
def stock(machine: Machine) -> Stock:
    return Stock(machine)


@pytest.mark.parametrize("label", WORKING, ids=lambda label: label.name)
def test_ERRORS0001_working_calls(stock: Stock, label: Label) -> None:
    """Every method succeeds when all its arguments are good."""
    assert stock.invoke(Refusal(label, Error.NO_ERROR))[0] == Error.NO_ERROR


@pytest.mark.parametrize("label", WITH_WORDS, ids=lambda label: label.name)
def test_ERRORS0002_too_few_words(stock: Stock, label: Label) -> None:
    """Every method that takes words is refused with TruncatedMessage when the last one is missing."""
    refused = stock.invoke(Refusal(label, Error.TRUNCATED_MESSAGE, drop_words=1))
    assert refused == (Error.TRUNCATED_MESSAGE, ())


@pytest.mark.parametrize("label", WITH_WORDS, ids=lambda label: label.name)
def test_ERRORS0003_no_words(stock: Stock, label: Label) -> None:
    """Every method that takes words is refused with TruncatedMessage when there are none."""
    refused = stock.invoke(Refusal(label, Error.TRUNCATED_MESSAGE, drop_words=len(WORKING[label].words)))
    assert refused == (Error.TRUNCATED_MESSAGE, ())


@pytest.mark.parametrize("label", WITH_CAPS, ids=lambda label: label.name)
def test_ERRORS0004_too_few_capabilities(stock: Stock, label: Label) -> None:
    """Every method that takes capabilities is refused with TruncatedMessage when the last one is missing."""
    refused = stock.invoke(Refusal(label, Error.TRUNCATED_MESSAGE, drop_caps=1))
    assert refused == (Error.TRUNCATED_MESSAGE, ())


@pytest.mark.parametrize("name", INVOKED)
@pytest.mark.parametrize("label", [0, 48, 999, 1 << 51])
def test_ERRORS0005_unknown_label(stock: Stock, name: str, label: int) -> None:
    """A label that no method has is an IllegalOperation on every kernel object, however short the message."""
    assert stock.machine.root.invoke(stock.resolve(name), label) == (Error.ILLEGAL_OPERATION, ())


@pytest.mark.parametrize("name", INVOKED)
def test_ERRORS0006_label_of_another_object(stock: Stock, name: str) -> None:
    """A label of another object's method is an IllegalOperation."""
    for label, owner in OBJECT_OF.items():
        if FAMILY.get(str(owner), owner) != name:
            assert stock.machine.root.invoke(stock.resolve(name), label) == (Error.ILLEGAL_OPERATION, ())


def test_ERRORS0007_null_capability(stock: Stock) -> None:
    """A Call by an empty slot gets InvalidCapability(0), whatever the label."""
    for label in (0, *WORKING):
        assert stock.machine.root.invoke(stock.free, label) == (Error.INVALID_CAPABILITY, (0,))


@pytest.mark.parametrize("op", [Syscall.SEND, Syscall.NB_SEND])
def test_ERRORS0008_no_answer_no_error(stock: Stock, op: int) -> None:
    """Errors of a method that is invoked by Send or NBSend are not told."""
    for label in WITH_WORDS:
        done = got(stock.machine.root.syscall(op, stock.resolve(WORKING[label].cptr), label=label))
        assert (done.info, done.badge) == (0, 0)


def test_ERRORS0009_error_reply_layout(stock: Stock) -> None:
    """An error's reply has the error as its label, badge 0, no capabilities, and as many words as its payload."""
    machine = stock.machine
    words = (9, 64, stock.endpoint, 64, 15)
    done = got(machine.root.syscall(Syscall.CALL, stock.root, words=words, label=Label.CNODE_COPY, caps=[stock.root]))
    assert (done.badge, done.info) == (0, Error.DELETE_FIRST << 12)
    done = got(machine.root.syscall(Syscall.CALL, stock.root, words=(1, 0), label=Label.CNODE_DELETE))
    assert (done.badge, done.info) == (0, Error.RANGE_ERROR << 12 | 2)


def test_ERRORS0010_truncation_comes_before_values(stock: Stock) -> None:
    """A message that is too short is refused as such, whatever nonsense its words are."""
    for label in (Label.UNTYPED_RETYPE, Label.TCB_CONFIGURE, Label.TCB_SET_PRIORITY, Label.TCB_SET_SCHED_PARAMS):
        bad = dict.fromkeys(range(6), (1 << 64) - 1)
        refusal = Refusal(label, Error.TRUNCATED_MESSAGE, words=bad, caps={0: "reply"}, drop_words=1)
        assert stock.invoke(refusal) == (Error.TRUNCATED_MESSAGE, ())


def test_ERRORS0011_more_is_no_error(stock: Stock) -> None:
    """More words and capabilities than a method takes are ignored."""
    root = stock.machine.root
    assert root.invoke(stock.thread, Label.TCB_SUSPEND, (1, 2, 3, 4, 5, 6), [stock.tcb, stock.reply, 0])[0] == 0
    words = (5, 99, 98, 97, 96, 95)
    assert root.invoke(stock.thread, Label.TCB_SET_PRIORITY, words, [stock.own_tcb, 0, 0])[0] == 0
