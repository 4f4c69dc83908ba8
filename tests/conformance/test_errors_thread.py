"""Error codes of TCB methods, with their payloads, and which of two comes first (SEL4_API 2.6)."""

from __future__ import annotations

import pytest

from libsel4py import abi
from libsel4py.abi import Error, Label, ObjectType, Rights, Syscall
from tests.conformance.refusals import Refusal, Stock
from tests.harness import Machine

ILLEGAL, INVALID = Error.ILLEGAL_OPERATION, Error.INVALID_CAPABILITY
RANGE, REVOKE, ALIGNMENT = Error.RANGE_ERROR, Error.REVOKE_FIRST, Error.ALIGNMENT_ERROR
LONG_GUARD = abi.cnode_cap_data(0, 61)
UNALIGNED = 1 << 9


@pytest.fixture
def stock(machine: Machine) -> Stock:
    return Stock(machine)


def check(stock: Stock, *refusals: Refusal) -> None:
    for refusal in refusals:
        assert stock.invoke(refusal) == (refusal.error, refusal.payload), str(refusal)


def test_ERRORS0040_read_registers(stock: Stock) -> None:
    """TCB_ReadRegisters: RangeError for the count, then IllegalOperation for the caller itself."""
    label, registers = Label.TCB_READ_REGISTERS, (1, abi.REGISTERS)
    check(
        stock,
        Refusal(label, RANGE, registers, {1: 0}),
        Refusal(label, RANGE, registers, {1: 21}),
        Refusal(label, ILLEGAL, cptr="own_tcb"),
        Refusal(label, RANGE, registers, {1: 21}, cptr="own_tcb"),
    )


def test_ERRORS0041_write_registers(stock: Stock) -> None:
    """TCB_WriteRegisters: TruncatedMessage if the count exceeds the words, then IllegalOperation for the caller."""
    label = Label.TCB_WRITE_REGISTERS
    check(
        stock,
        Refusal(label, Error.TRUNCATED_MESSAGE, (), {1: 2}),
        Refusal(label, Error.TRUNCATED_MESSAGE, (), {1: 1 << 63}),
        Refusal(label, ILLEGAL, cptr="own_tcb"),
        Refusal(label, Error.TRUNCATED_MESSAGE, (), {1: 2}, cptr="own_tcb"),
    )


def test_ERRORS0042_copy_registers(stock: Stock) -> None:
    """TCB_CopyRegisters: InvalidCapability(1) for a source that is no TCB."""
    check(stock, Refusal(Label.TCB_COPY_REGISTERS, INVALID, (1,), caps={0: "reply"}))
    check(stock, Refusal(Label.TCB_COPY_REGISTERS, INVALID, (1,), caps={0: "null"}))


@pytest.mark.parametrize("label", [Label.TCB_SET_PRIORITY, Label.TCB_SET_MC_PRIORITY], ids=lambda label: label.name)
def test_ERRORS0043_priorities(stock: Stock, label: Label) -> None:
    """TCB_SetPriority and SetMCPriority: InvalidCapability(1) for the authority, then RangeError up to its MCP."""
    check(
        stock,
        Refusal(label, INVALID, (1,), caps={0: "endpoint"}),
        Refusal(label, RANGE, (0, 255), {0: 256}),
        Refusal(label, RANGE, (0, 255), {0: 1 << 63}),
        Refusal(label, RANGE, (0, 100), {0: 101}, {0: "thread"}),
        Refusal(label, RANGE, (0, 0), {0: 1}, {0: "tcb"}),
        Refusal(label, INVALID, (1,), {0: 256}, {0: "endpoint"}),
    )


def test_ERRORS0044_sched_params(stock: Stock) -> None:
    """TCB_SetSchedParams: every error with its payload."""
    label = Label.TCB_SET_SCHED_PARAMS
    check(
        stock,
        Refusal(label, INVALID, (1,), caps={0: "endpoint"}),
        Refusal(label, RANGE, (0, 100), {0: 101}, {0: "thread"}),
        Refusal(label, RANGE, (0, 100), {1: 101}, {0: "thread"}),
        Refusal(label, INVALID, (2,), caps={1: "endpoint"}),
        Refusal(label, INVALID, (3,), caps={2: "notification"}),
        Refusal(label, INVALID, (3,), caps={2: "no_grant"}),
        Refusal(label, ILLEGAL, caps={1: "thread_context"}),
        Refusal(label, ILLEGAL, cptr="thread"),
        Refusal(label, ILLEGAL, caps={1: "null"}, cptr="own_tcb"),
    )


def test_ERRORS0045_sched_params_order(stock: Stock) -> None:
    """TCB_SetSchedParams: authority, MCP, priority, scheduling context, fault endpoint are checked in this order."""
    label = Label.TCB_SET_SCHED_PARAMS
    check(
        stock,
        Refusal(label, INVALID, (1,), {0: 999, 1: 999}, {0: "endpoint", 1: "endpoint", 2: "tcb"}),
        Refusal(label, RANGE, (0, 255), {1: 999}, {1: "endpoint", 2: "tcb"}),
        Refusal(label, INVALID, (2,), {}, {1: "endpoint", 2: "tcb"}),
        Refusal(label, ILLEGAL, (), {}, {1: "thread_context", 2: "tcb"}),
    )


def test_ERRORS0046_blocked_without_budget(stock: Stock) -> None:
    """A scheduling context without budget is not bound to a blocked thread: IllegalOperation."""
    machine, thread = stock.machine, stock.bound_thread
    machine.grant(thread, stock.notification, 1)
    assert thread.syscall(Syscall.WAIT, 1) is None
    machine.root.call(thread.sched_context, Label.SCHED_CONTEXT_UNBIND)
    check(
        stock,
        Refusal(Label.TCB_SET_SCHED_PARAMS, ILLEGAL, caps={1: "unconfigured"}, cptr="thread"),
        Refusal(Label.SCHED_CONTEXT_BIND, ILLEGAL, caps={0: "thread"}, cptr="unconfigured"),
        Refusal(Label.SCHED_CONTEXT_BIND, Error.NO_ERROR, caps={0: "thread"}),
    )


@pytest.mark.parametrize("cap", ["notification", "tcb", "no_grant"])
def test_ERRORS0047_timeout_endpoint(stock: Stock, cap: str) -> None:
    """TCB_SetTimeoutEndpoint: InvalidCapability(1) unless it is null, or an endpoint that can be replied to."""
    check(
        stock,
        Refusal(Label.TCB_SET_TIMEOUT_ENDPOINT, INVALID, (1,), caps={0: cap}),
        Refusal(Label.TCB_SET_TIMEOUT_ENDPOINT, Error.NO_ERROR, caps={0: "null"}),
    )


@pytest.mark.parametrize(
    ("label", "word", "cap"),
    [(Label.TCB_SET_IPC_BUFFER, 0, 0), (Label.TCB_CONFIGURE, 2, 2)],
    ids=["buffer", "configure"],
)
def test_ERRORS0048_ipc_buffer(stock: Stock, label: Label, word: int, cap: int) -> None:
    """TCB_SetIPCBuffer and Configure: the frame's derivation and kind are checked before the address's alignment."""
    check(
        stock,
        Refusal(label, ALIGNMENT, (), {word: stock.frame_address + UNALIGNED}),
        Refusal(label, ILLEGAL, (), {}, {cap: "endpoint"}),
        Refusal(label, ILLEGAL, (), {}, {cap: "null"}),
        Refusal(label, REVOKE, (), {}, {cap: "parent"}),
        Refusal(label, ILLEGAL, (), {word: stock.frame_address + UNALIGNED}, {cap: "endpoint"}),
        Refusal(label, REVOKE, (), {word: stock.frame_address + UNALIGNED}, {cap: "parent"}),
    )


@pytest.mark.parametrize(
    ("label", "cspace", "vspace"),
    [(Label.TCB_SET_SPACE, 1, 2), (Label.TCB_CONFIGURE, 0, 1)],
    ids=["space", "configure"],
)
def test_ERRORS0049_spaces(stock: Stock, label: Label, cspace: int, vspace: int) -> None:
    """TCB_SetSpace and Configure: IllegalOperation for a wrong root or guard, RevokeFirst if it cannot be derived."""
    check(
        stock,
        Refusal(label, ILLEGAL, caps={cspace: "endpoint"}),
        Refusal(label, ILLEGAL, caps={cspace: "null"}),
        Refusal(label, ILLEGAL, (), {0: LONG_GUARD}),
        Refusal(label, REVOKE, caps={cspace: "parent"}),
        Refusal(label, ILLEGAL, caps={vspace: "endpoint"}),
        Refusal(label, ILLEGAL, caps={vspace: "null"}),
        Refusal(label, REVOKE, caps={vspace: "parent"}),
        Refusal(label, ILLEGAL, caps={cspace: "endpoint", vspace: "parent"}),
        Refusal(label, REVOKE, caps={cspace: "parent", vspace: "endpoint"}),
    )


def test_ERRORS0050_set_space_handler(stock: Stock) -> None:
    """TCB_SetSpace: InvalidCapability(1) for the fault endpoint, after the checks of both roots."""
    label = Label.TCB_SET_SPACE
    check(
        stock,
        Refusal(label, INVALID, (1,), caps={0: "notification"}),
        Refusal(label, INVALID, (1,), caps={0: "no_grant"}),
        Refusal(label, ILLEGAL, caps={0: "notification", 1: "endpoint"}),
        Refusal(label, ILLEGAL, caps={0: "notification", 2: "endpoint"}),
    )


def test_ERRORS0051_configure_order(stock: Stock) -> None:
    """TCB_Configure: buffer, capability space, address space are checked in this order."""
    label = Label.TCB_CONFIGURE
    check(
        stock,
        Refusal(label, ALIGNMENT, (), {2: UNALIGNED}, {0: "parent", 1: "parent"}),
        Refusal(label, REVOKE, (), {}, {0: "parent", 1: "endpoint"}),
    )


def test_ERRORS0052_bind_notification(stock: Stock) -> None:
    """TCB_BindNotification: IllegalOperation for another capability, no Read, either side bound, or waiters."""
    machine, label = stock.machine, Label.TCB_BIND_NOTIFICATION
    check(
        stock,
        Refusal(label, ILLEGAL, caps={0: "endpoint"}),
        Refusal(label, ILLEGAL, caps={0: "null"}),
        Refusal(label, ILLEGAL, caps={0: "write_only"}),
        Refusal(label, Error.NO_ERROR),
        Refusal(label, ILLEGAL),
        Refusal(label, ILLEGAL, cptr="tcb"),
    )
    waiter = machine.thread("waiter")
    waited_on = machine.retype(ObjectType.NOTIFICATION)
    machine.grant(waiter, waited_on, 1, Rights.READ)
    assert waiter.syscall(Syscall.WAIT, 1) is None
    refused = machine.root.invoke(stock.tcb, label, (), [waited_on])
    assert refused == (ILLEGAL, ())


def test_ERRORS0053_unbind_notification(stock: Stock) -> None:
    """TCB_UnbindNotification: IllegalOperation if none is bound."""
    refused = stock.machine.root.invoke(stock.thread, Label.TCB_UNBIND_NOTIFICATION)
    assert refused == (ILLEGAL, ())
