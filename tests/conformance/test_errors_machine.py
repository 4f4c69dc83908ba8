"""Error codes of scheduling, domain, interrupt and I/O port methods, and which of two comes first (SEL4_API 2.6)."""

from __future__ import annotations

import pytest

from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, LookupFailureKind, ObjectType
from tests.conformance.refusals import GUARD_PAYLOAD, UNRESOLVED, Refusal, Stock
from tests.harness import OWN_SCHED_CONTEXT, OWN_TCB, Machine

ILLEGAL, INVALID, RANGE = Error.ILLEGAL_OPERATION, Error.INVALID_CAPABILITY, Error.RANGE_ERROR
ARGUMENT, LOOKUP, DELETE, REVOKE = (
    Error.INVALID_ARGUMENT,
    Error.FAILED_LOOKUP,
    Error.DELETE_FIRST,
    Error.REVOKE_FIRST,
)
TIMES = (abi.MIN_BUDGET_US, abi.MAX_PERIOD_US)
TOO_LONG, TOO_SHORT = abi.MAX_PERIOD_US + 1, abi.MIN_BUDGET_US - 1
BUDGET, PERIOD, EXTRA = 0, 1, 2


@pytest.fixture
def stock(machine: Machine) -> Stock:
    return Stock(machine)


def check(stock: Stock, *refusals: Refusal) -> None:
    for refusal in refusals:
        assert stock.invoke(refusal) == (refusal.error, refusal.payload), str(refusal)


def test_ERRORS0060_configure_flags(stock: Stock) -> None:
    """SchedControl_ConfigureFlags: every error with its payload."""
    label = Label.SCHED_CONTROL_CONFIGURE_FLAGS
    check(
        stock,
        Refusal(label, RANGE, TIMES, {BUDGET: TOO_LONG, PERIOD: TOO_LONG}),
        Refusal(label, RANGE, TIMES, {PERIOD: TOO_LONG}),
        Refusal(label, RANGE, TIMES, {BUDGET: TOO_SHORT}),
        Refusal(label, RANGE, TIMES, {BUDGET: 0}),
        Refusal(label, RANGE, TIMES, {BUDGET: TOO_SHORT, PERIOD: TOO_SHORT}),
        Refusal(label, RANGE, (abi.MIN_BUDGET_US, 10000), {BUDGET: 10001}),
        Refusal(label, INVALID, (1,), caps={0: "endpoint"}),
        Refusal(label, RANGE, (0, 8), {EXTRA: 9}),
        Refusal(label, RANGE, (0, 8), {EXTRA: 1 << 63}),
        Refusal(label, Error.NO_ERROR, (), {EXTRA: 8}),
    )


def test_ERRORS0061_configure_flags_order(stock: Stock) -> None:
    """SchedControl_ConfigureFlags: times, then budget against period, then the capability, then the refills."""
    label = Label.SCHED_CONTROL_CONFIGURE_FLAGS
    check(
        stock,
        Refusal(label, RANGE, TIMES, {BUDGET: TOO_SHORT, EXTRA: 99}, {0: "endpoint"}),
        Refusal(label, RANGE, TIMES, {BUDGET: 5000, PERIOD: TOO_SHORT}),
        Refusal(label, RANGE, (abi.MIN_BUDGET_US, 10000), {BUDGET: 10001, EXTRA: 99}, {0: "endpoint"}),
        Refusal(label, INVALID, (1,), {EXTRA: 99}, {0: "endpoint"}),
    )


def test_ERRORS0062_bind(stock: Stock) -> None:
    """SchedContext_Bind: InvalidCapability(1) for other objects, IllegalOperation if either side is bound."""
    label = Label.SCHED_CONTEXT_BIND
    check(
        stock,
        Refusal(label, INVALID, (1,), caps={0: "endpoint"}),
        Refusal(label, INVALID, (1,), caps={0: "null"}),
        Refusal(label, INVALID, (1,), caps={0: "endpoint"}, cptr="thread_context"),
        Refusal(label, ILLEGAL, cptr="thread_context"),
        Refusal(label, ILLEGAL, caps={0: "thread"}),
        Refusal(label, Error.NO_ERROR, caps={0: "notification"}),
        Refusal(label, ILLEGAL, caps={0: "notification"}, cptr="unconfigured"),
        Refusal(label, ILLEGAL, caps={0: stock.machine.retype(ObjectType.NOTIFICATION)}),
    )


def test_ERRORS0063_unbind(stock: Stock) -> None:
    """SchedContext_Unbind and UnbindObject: IllegalOperation for the caller's own context."""
    check(
        stock,
        Refusal(Label.SCHED_CONTEXT_UNBIND, ILLEGAL, cptr="own_context"),
        Refusal(Label.SCHED_CONTEXT_UNBIND_OBJECT, ILLEGAL, caps={0: "own_tcb"}, cptr="own_context"),
    )


def test_ERRORS0064_unbind_object(stock: Stock) -> None:
    """SchedContext_UnbindObject: InvalidCapability(1) for other objects, IllegalOperation if it is not bound to it."""
    label = Label.SCHED_CONTEXT_UNBIND_OBJECT
    check(
        stock,
        Refusal(label, INVALID, (1,), caps={0: "endpoint"}),
        Refusal(label, INVALID, (1,), caps={0: "null"}),
        Refusal(label, ILLEGAL, caps={0: "tcb"}),
        Refusal(label, ILLEGAL, caps={0: "notification"}),
    )


def test_ERRORS0065_yield_to(stock: Stock) -> None:
    """SchedContext_YieldTo: IllegalOperation without a thread, for the caller, and above the caller's MCP."""
    check(
        stock,
        Refusal(Label.SCHED_CONTEXT_YIELD_TO, ILLEGAL, cptr="context"),
        Refusal(Label.SCHED_CONTEXT_YIELD_TO, ILLEGAL, cptr="own_context"),
    )
    low = stock.machine.thread("low", mcp=99)
    stock.machine.grant(low, stock.thread_context, 1)
    assert low.invoke(1, Label.SCHED_CONTEXT_YIELD_TO) == (ILLEGAL, ())
    assert low.invoke(OWN_SCHED_CONTEXT, Label.SCHED_CONTEXT_YIELD_TO) == (ILLEGAL, ())
    stock.machine.root.call(stock.thread, Label.TCB_SET_PRIORITY, (99,), [InitialSlot.TCB])
    assert low.invoke(1, Label.SCHED_CONTEXT_YIELD_TO)[0] == Error.NO_ERROR


def test_ERRORS0070_domain_set(stock: Stock) -> None:
    """DomainSet_Set: InvalidArgument(0) for the domain, before the capability is missed; (1) for another than a TCB."""
    label = Label.DOMAIN_SET
    check(
        stock,
        Refusal(label, ARGUMENT, (0,), {0: abi.DOMAINS}),
        Refusal(label, ARGUMENT, (0,), {0: 1 << 63}),
        Refusal(label, ARGUMENT, (1,), caps={0: "endpoint"}),
        Refusal(label, ARGUMENT, (0,), {0: abi.DOMAINS}, {0: "endpoint"}),
        Refusal(label, ARGUMENT, (0,), {0: abi.DOMAINS}, drop_caps=1),
    )


def test_ERRORS0071_schedule_configure(stock: Stock) -> None:
    """DomainSet_ScheduleConfigure: every error with its payload, in the order of the arguments."""
    label = Label.DOMAIN_SCHEDULE_CONFIGURE
    last = abi.DOMAIN_SCHEDULE_LENGTH - 1
    check(
        stock,
        Refusal(label, RANGE, (0, last - 1), {0: last}),
        Refusal(label, RANGE, (0, abi.DOMAINS - 1), {1: abi.DOMAINS}),
        Refusal(label, ARGUMENT, (2,), {2: 1 << 56}),
        Refusal(label, ARGUMENT, (1,), {2: 0}),
        Refusal(label, ARGUMENT, (2,), {0: 0, 1: 0, 2: 0}),
        Refusal(label, RANGE, (0, last - 1), {0: last, 1: abi.DOMAINS, 2: 1 << 56}),
        Refusal(label, RANGE, (0, abi.DOMAINS - 1), {1: abi.DOMAINS, 2: 1 << 56}),
        Refusal(label, Error.NO_ERROR, (), {0: last - 1, 1: 0, 2: 0}),
    )


def test_ERRORS0072_schedule_set_start(stock: Stock) -> None:
    """DomainSet_ScheduleSetStart: RangeError for the index, InvalidArgument(0) for an end marker."""
    label = Label.DOMAIN_SCHEDULE_SET_START
    check(
        stock,
        Refusal(label, RANGE, (0, abi.DOMAIN_SCHEDULE_LENGTH - 1), {0: abi.DOMAIN_SCHEDULE_LENGTH}),
        Refusal(label, ARGUMENT, (0,), {0: 5}),
        Refusal(label, ARGUMENT, (0,), {0: abi.DOMAIN_SCHEDULE_LENGTH - 1}),
    )


def test_ERRORS0080_irq_control(stock: Stock) -> None:
    """IRQControl_Get: every error with its payload, in the order line, handler, destination."""
    label, lines = Label.IRQ_CONTROL_GET, (0, abi.IRQS - 1)
    check(
        stock,
        Refusal(label, RANGE, lines, {0: abi.IRQS}),
        Refusal(label, REVOKE, (), {0: 7}),
        Refusal(label, RANGE, (1, 64), {2: 65}),
        Refusal(label, LOOKUP, (0, *GUARD_PAYLOAD), {1: UNRESOLVED}),
        Refusal(label, LOOKUP, (0, LookupFailureKind.INVALID_ROOT), caps={0: "endpoint"}),
        Refusal(label, DELETE, (), {1: "tcb"}),
        Refusal(label, RANGE, lines, {0: abi.IRQS, 1: "tcb"}),
        Refusal(label, REVOKE, (), {0: 7, 1: "tcb"}),
        Refusal(label, RANGE, (1, 64), {1: "tcb", 2: 65}),
    )


def test_ERRORS0081_irq_handler(stock: Stock) -> None:
    """IRQHandler_SetNotification: InvalidCapability(0) for another capability, or one without Write."""
    label = Label.IRQ_HANDLER_SET_NOTIFICATION
    check(
        stock,
        Refusal(label, INVALID, (0,), caps={0: "endpoint"}),
        Refusal(label, INVALID, (0,), caps={0: "null"}),
        Refusal(label, INVALID, (0,), caps={0: "read_only"}),
        Refusal(label, Error.NO_ERROR, caps={0: "write_only"}),
    )


def test_ERRORS0090_io_port_control(stock: Stock) -> None:
    """IOPortControl_Issue: InvalidArgument(1), RevokeFirst, then the destination's errors."""
    label = Label.IO_PORT_CONTROL_ISSUE
    check(
        stock,
        Refusal(label, ARGUMENT, (1,), {1: 0x2FF}),
        Refusal(label, REVOKE, (), {0: 0x407, 1: 0x410}),
        Refusal(label, REVOKE, (), {0: 0x3F8, 1: 0x400}),
        Refusal(label, RANGE, (1, 64), {3: 0}),
        Refusal(label, LOOKUP, (0, *GUARD_PAYLOAD), {2: UNRESOLVED}),
        Refusal(label, LOOKUP, (0, LookupFailureKind.INVALID_ROOT), caps={0: "endpoint"}),
        Refusal(label, DELETE, (), {2: "tcb"}),
        Refusal(label, ARGUMENT, (1,), {0: 0x407, 1: 0x406, 2: "tcb"}),
        Refusal(label, REVOKE, (), {0: 0x407, 1: 0x410, 2: "tcb"}),
    )


@pytest.mark.parametrize(
    ("label", "first_bad"),
    [
        (Label.IO_PORT_IN8, 0x408),
        (Label.IO_PORT_IN16, 0x407),
        (Label.IO_PORT_IN32, 0x405),
        (Label.IO_PORT_OUT8, 0x408),
        (Label.IO_PORT_OUT16, 0x407),
        (Label.IO_PORT_OUT32, 0x405),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_ERRORS0091_io_port(stock: Stock, label: Label, first_bad: int) -> None:
    """IOPort methods: IllegalOperation unless all ports of the access are in the capability's range."""
    check(
        stock,
        Refusal(label, ILLEGAL, (), {0: 0x3FF}),
        Refusal(label, ILLEGAL, (), {0: first_bad}),
    )
    assert stock.invoke(Refusal(label, Error.NO_ERROR, (), {0: first_bad - 1}))[0] == Error.NO_ERROR


def test_ERRORS0092_foreign_thread(stock: Stock) -> None:
    """What holds for the caller holds for whoever calls: a thread cannot read its own registers."""
    assert stock.bound_thread.invoke(OWN_TCB, Label.TCB_READ_REGISTERS, (0, 20)) == (ILLEGAL, ())
    assert stock.machine.root.invoke(stock.thread, Label.TCB_READ_REGISTERS, (0, 20))[0] == Error.NO_ERROR
