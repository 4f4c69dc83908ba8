"""Error codes of Untyped and CNode methods, with their payloads, and which of two comes first (SEL4_API 2.6)."""

from __future__ import annotations

import pytest

from kerneld.boot import DeviceRegion
from libsel4py import abi
from libsel4py.abi import Error, Label, LookupFailureKind, ObjectType
from tests.conformance.refusals import GUARD_PAYLOAD, UNRESOLVED, Refusal, Stock
from tests.harness import Machine

SLOTS = 1 << abi.INITIAL_CNODE_BITS
RETYPE = Label.UNTYPED_RETYPE
TYPE, SIZE, INDEX, DEPTH, OFFSET, COUNT = range(6)
MISSING = LookupFailureKind.MISSING_CAPABILITY
COPYING = [Label.CNODE_COPY, Label.CNODE_MINT, Label.CNODE_MOVE, Label.CNODE_MUTATE]
EVERY = [Label.CNODE_REVOKE, Label.CNODE_DELETE, Label.CNODE_CANCEL_BADGED_SENDS, *COPYING, Label.CNODE_ROTATE]
DEPTH_RANGE = (1, 64)


@pytest.fixture
def stock(machine: Machine) -> Stock:
    return Stock(machine)


RETYPE_REFUSALS = [
    Refusal(RETYPE, Error.INVALID_ARGUMENT, (0,), {TYPE: len(ObjectType)}),
    Refusal(RETYPE, Error.INVALID_ARGUMENT, (0,), {TYPE: 1 << 63}),
    Refusal(RETYPE, Error.RANGE_ERROR, (0, abi.UNTYPED_MAX_BITS), {TYPE: ObjectType.UNTYPED, SIZE: 40}),
    Refusal(RETYPE, Error.RANGE_ERROR, (0, abi.UNTYPED_MAX_BITS), {TYPE: ObjectType.CNODE, SIZE: 35}),
    Refusal(RETYPE, Error.RANGE_ERROR, (0, abi.UNTYPED_MAX_BITS), {TYPE: ObjectType.TCB, SIZE: 64}),
    Refusal(RETYPE, Error.INVALID_ARGUMENT, (1,), {TYPE: ObjectType.CNODE, SIZE: 0}),
    Refusal(RETYPE, Error.INVALID_ARGUMENT, (1,), {TYPE: ObjectType.UNTYPED, SIZE: 3}),
    Refusal(RETYPE, Error.INVALID_ARGUMENT, (1,), {TYPE: ObjectType.SCHED_CONTEXT, SIZE: 6}),
    Refusal(RETYPE, Error.INVALID_ARGUMENT, (1,), {TYPE: ObjectType.FRAME, SIZE: 11}),
    Refusal(RETYPE, Error.INVALID_ARGUMENT, (1,), {TYPE: ObjectType.FRAME, SIZE: 31}),
    Refusal(RETYPE, Error.INVALID_ARGUMENT, (1,), {TYPE: ObjectType.VSPACE, SIZE: 11}),
    Refusal(RETYPE, Error.RANGE_ERROR, DEPTH_RANGE, {DEPTH: 65}),
    Refusal(RETYPE, Error.FAILED_LOOKUP, (0, *GUARD_PAYLOAD), {INDEX: UNRESOLVED, DEPTH: 64}),
    Refusal(RETYPE, Error.FAILED_LOOKUP, (0, LookupFailureKind.INVALID_ROOT), {DEPTH: 64}, {0: "endpoint"}),
    Refusal(RETYPE, Error.FAILED_LOOKUP, (0, MISSING, 64), {INDEX: "endpoint", DEPTH: 64}),
    Refusal(RETYPE, Error.FAILED_LOOKUP, (0, MISSING, 64), {INDEX: "free", DEPTH: 64}),
    Refusal(RETYPE, Error.FAILED_LOOKUP, (0, MISSING, 0), caps={0: "endpoint"}),
    Refusal(RETYPE, Error.RANGE_ERROR, (0, SLOTS - 1), {OFFSET: SLOTS}),
    Refusal(RETYPE, Error.RANGE_ERROR, (1, abi.RETYPE_MAX_OBJECTS), {COUNT: 0}),
    Refusal(RETYPE, Error.RANGE_ERROR, (1, abi.RETYPE_MAX_OBJECTS), {COUNT: 257}),
    Refusal(RETYPE, Error.RANGE_ERROR, (1, 2), {OFFSET: SLOTS - 2, COUNT: 3}),
    Refusal(RETYPE, Error.DELETE_FIRST, (), {OFFSET: "endpoint"}),
    Refusal(RETYPE, Error.NOT_ENOUGH_MEMORY, (4096,), {TYPE: ObjectType.UNTYPED, SIZE: 13}),
    Refusal(RETYPE, Error.NOT_ENOUGH_MEMORY, (224,), {TYPE: ObjectType.UNTYPED, SIZE: 8}, cptr="parent"),
]

RETYPE_PAIRS = [
    Refusal(RETYPE, Error.INVALID_ARGUMENT, (0,), {TYPE: 99, SIZE: 64}),
    Refusal(RETYPE, Error.RANGE_ERROR, (0, 39), {TYPE: ObjectType.CNODE, SIZE: 64, DEPTH: 65}),
    Refusal(RETYPE, Error.INVALID_ARGUMENT, (1,), {TYPE: ObjectType.CNODE, SIZE: 0, DEPTH: 65}),
    Refusal(RETYPE, Error.FAILED_LOOKUP, (0, MISSING, 0), {OFFSET: SLOTS, COUNT: 0}, {0: "endpoint"}),
    Refusal(RETYPE, Error.FAILED_LOOKUP, (0, LookupFailureKind.INVALID_ROOT), {DEPTH: 65}, {0: "endpoint"}),
    Refusal(RETYPE, Error.RANGE_ERROR, (0, SLOTS - 1), {OFFSET: SLOTS, COUNT: 257}),
    Refusal(RETYPE, Error.RANGE_ERROR, (1, 256), {OFFSET: SLOTS - 1, COUNT: 257}),
    Refusal(RETYPE, Error.DELETE_FIRST, (), {OFFSET: 16, COUNT: 256, TYPE: ObjectType.TCB}),
    Refusal(RETYPE, Error.DELETE_FIRST, (), {OFFSET: "endpoint", TYPE: ObjectType.UNTYPED, SIZE: 20}),
]


@pytest.mark.parametrize("refusal", RETYPE_REFUSALS, ids=str)
def test_ERRORS0020_retype(stock: Stock, refusal: Refusal) -> None:
    """Untyped_Retype: every error, with its payload."""
    assert stock.invoke(refusal) == (refusal.error, refusal.payload)


@pytest.mark.parametrize("refusal", RETYPE_PAIRS, ids=str)
def test_ERRORS0021_retype_order(stock: Stock, refusal: Refusal) -> None:
    """Untyped_Retype: of two errors the one that is checked first comes."""
    assert stock.invoke(refusal) == (refusal.error, refusal.payload)


def test_ERRORS0022_retype_memory_before_device() -> None:
    """Untyped_Retype: NotEnoughMemory comes before the refusal of a kernel object on device memory."""
    machine = Machine(devices=(DeviceRegion(0x1000_0000, 12),))
    device = machine.boot_info()[abi.BOOT_INFO_UNTYPED]
    words = (ObjectType.CNODE, 12, 0, 0, machine.new_slots(), 1)
    assert machine.root.invoke(device, RETYPE, words, [2]) == (Error.NOT_ENOUGH_MEMORY, (4096,))


@pytest.mark.parametrize("label", EVERY, ids=lambda label: label.name)
def test_ERRORS0030_destination(stock: Stock, label: Label) -> None:
    """CNode methods: a destination depth out of range, or an index that does not resolve, is told as such."""
    assert stock.invoke(Refusal(label, Error.RANGE_ERROR, words={1: 0})) == (Error.RANGE_ERROR, DEPTH_RANGE)
    assert stock.invoke(Refusal(label, Error.RANGE_ERROR, words={1: 65})) == (Error.RANGE_ERROR, DEPTH_RANGE)
    refused = stock.invoke(Refusal(label, Error.FAILED_LOOKUP, words={0: UNRESOLVED}))
    assert refused == (Error.FAILED_LOOKUP, (0, *GUARD_PAYLOAD))


@pytest.mark.parametrize("label", COPYING, ids=lambda label: label.name)
def test_ERRORS0031_copying(stock: Stock, label: Label) -> None:
    """Copy, Mint, Move and Mutate: every error of their addresses, with its payload."""
    for refusal in (
        Refusal(label, Error.DELETE_FIRST, (), {0: "tcb"}),
        Refusal(label, Error.RANGE_ERROR, DEPTH_RANGE, {3: 0}),
        Refusal(label, Error.RANGE_ERROR, DEPTH_RANGE, {3: 65}),
        Refusal(label, Error.FAILED_LOOKUP, (1, *GUARD_PAYLOAD), {2: UNRESOLVED}),
        Refusal(label, Error.FAILED_LOOKUP, (1, LookupFailureKind.INVALID_ROOT), caps={0: "reply"}),
        Refusal(label, Error.FAILED_LOOKUP, (1, MISSING, 64), {2: "free"}),
    ):
        assert stock.invoke(refusal) == (refusal.error, refusal.payload), str(refusal)


@pytest.mark.parametrize("label", COPYING, ids=lambda label: label.name)
def test_ERRORS0032_copying_order(stock: Stock, label: Label) -> None:
    """Copy, Mint, Move and Mutate: destination, then its slot, then source look-up, then its slot."""
    for refusal in (
        Refusal(label, Error.RANGE_ERROR, DEPTH_RANGE, {0: "tcb", 1: 65}),
        Refusal(label, Error.FAILED_LOOKUP, (0, *GUARD_PAYLOAD), {0: UNRESOLVED, 2: UNRESOLVED}),
        Refusal(label, Error.DELETE_FIRST, (), {0: "tcb", 2: UNRESOLVED}),
        Refusal(label, Error.DELETE_FIRST, (), {0: "tcb", 2: "free"}),
        Refusal(label, Error.FAILED_LOOKUP, (1, LookupFailureKind.INVALID_ROOT), {3: 65}, {0: "reply"}),
    ):
        assert stock.invoke(refusal) == (refusal.error, refusal.payload), str(refusal)


@pytest.mark.parametrize(
    "label", [Label.CNODE_COPY, Label.CNODE_MINT, Label.CNODE_MUTATE], ids=lambda label: label.name
)
def test_ERRORS0033_copying_truncation(stock: Stock, label: Label) -> None:
    """Copy, Mint and Mutate: addresses are checked before the words behind them are missed."""
    assert stock.invoke(Refusal(label, Error.DELETE_FIRST, words={0: "tcb"}, drop_words=1)) == (Error.DELETE_FIRST, ())
    refused = stock.invoke(Refusal(label, Error.FAILED_LOOKUP, words={2: "free"}, drop_words=1))
    assert refused == (Error.FAILED_LOOKUP, (1, MISSING, 64))
    refused = stock.invoke(Refusal(label, Error.TRUNCATED_MESSAGE, words={2: "parent"}, drop_words=1))
    assert refused == (Error.TRUNCATED_MESSAGE, ())


def test_ERRORS0034_deriving(stock: Stock) -> None:
    """Copy and Mint: RevokeFirst for untyped memory with children, IllegalOperation where nothing can be derived."""
    for refusal in (
        Refusal(Label.CNODE_COPY, Error.REVOKE_FIRST, (), {2: "parent"}),
        Refusal(Label.CNODE_MINT, Error.REVOKE_FIRST, (), {2: "parent"}),
        Refusal(Label.CNODE_COPY, Error.ILLEGAL_OPERATION, (), {2: "irq_control"}),
        Refusal(Label.CNODE_MINT, Error.ILLEGAL_OPERATION, (), {2: "badged"}),
        Refusal(Label.CNODE_MINT, Error.ILLEGAL_OPERATION, (), {2: "cnode", 5: abi.cnode_cap_data(0, 61)}),
        Refusal(Label.CNODE_MUTATE, Error.ILLEGAL_OPERATION, (), {2: "cnode", 4: abi.cnode_cap_data(0, 61)}),
        Refusal(Label.CNODE_MUTATE, Error.ILLEGAL_OPERATION, (), {2: "endpoint"}),
    ):
        assert stock.invoke(refusal) == (refusal.error, refusal.payload), str(refusal)


ROTATE = Label.CNODE_ROTATE
PIVOT, PIVOT_DEPTH, SOURCE, SOURCE_DEPTH = 3, 4, 6, 7
ROTATE_REFUSALS = [
    Refusal(ROTATE, Error.RANGE_ERROR, DEPTH_RANGE, {SOURCE_DEPTH: 65}),
    Refusal(ROTATE, Error.RANGE_ERROR, DEPTH_RANGE, {PIVOT_DEPTH: 65}),
    Refusal(ROTATE, Error.FAILED_LOOKUP, (1, *GUARD_PAYLOAD), {SOURCE: UNRESOLVED}),
    Refusal(ROTATE, Error.FAILED_LOOKUP, (1, *GUARD_PAYLOAD), {PIVOT: UNRESOLVED}),
    Refusal(ROTATE, Error.FAILED_LOOKUP, (1, LookupFailureKind.INVALID_ROOT), {}, {0: "reply"}),
    Refusal(ROTATE, Error.FAILED_LOOKUP, (1, LookupFailureKind.INVALID_ROOT), {}, {1: "reply"}),
    Refusal(ROTATE, Error.ILLEGAL_OPERATION, (), {PIVOT: "reply"}),
    Refusal(ROTATE, Error.ILLEGAL_OPERATION, (), {PIVOT: "free"}),
    Refusal(ROTATE, Error.DELETE_FIRST, (), {0: "endpoint"}),
    Refusal(ROTATE, Error.ILLEGAL_OPERATION, (), {SOURCE: "endpoint"}),
    Refusal(ROTATE, Error.ILLEGAL_OPERATION, (), {PIVOT: "endpoint"}),
    # of two errors the first
    Refusal(ROTATE, Error.FAILED_LOOKUP, (1, *GUARD_PAYLOAD), {SOURCE: UNRESOLVED, PIVOT_DEPTH: 65}),
    Refusal(ROTATE, Error.ILLEGAL_OPERATION, (), {0: "tcb"}),
    Refusal(ROTATE, Error.DELETE_FIRST, (), {0: "badged", SOURCE: "endpoint"}),
]


@pytest.mark.parametrize("refusal", ROTATE_REFUSALS, ids=str)
def test_ERRORS0035_rotate(stock: Stock, refusal: Refusal) -> None:
    """CNode_Rotate: every error with its payload, source look-up before pivot look-up before the slots."""
    assert stock.invoke(refusal) == (refusal.error, refusal.payload)


def test_ERRORS0036_rotate_empty_slots(stock: Stock) -> None:
    """CNode_Rotate: an empty source is told as the source, an empty pivot as the destination."""
    empty = stock.free + 1
    refusal = Refusal(ROTATE, Error.FAILED_LOOKUP, words={SOURCE: empty, PIVOT: empty + 1})
    assert stock.invoke(refusal) == (Error.FAILED_LOOKUP, (1, MISSING, 64))
    refusal = Refusal(ROTATE, Error.FAILED_LOOKUP, words={PIVOT: empty})
    assert stock.invoke(refusal) == (Error.FAILED_LOOKUP, (0, MISSING, 64))
