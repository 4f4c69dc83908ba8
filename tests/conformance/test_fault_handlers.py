"""Fault handlers: who may be one, how a fault waits for it, and what happens without a good one (manual 6.2)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import (
    Error,
    FaultLabel,
    InitialSlot,
    Label,
    ObjectType,
    Rights,
    Syscall,
)
from tests.conformance.scenes import (
    BAD,
    ENDPOINT,
    FREE,
    UNKNOWN_SYSCALL,
    answer,
    call,
    faulting,
    got,
    is_empty,
    next_fault,
    poll,
    receive,
    reply_to_fault,
    send,
    set_root,
)
from tests.harness import OWN_REPLY, Machine


def test_FAULT0012_no_handler(machine: Machine) -> None:
    """A thread without a fault handler that faults becomes Inactive."""
    thread = machine.thread("faulter")
    assert send(thread, cptr=BAD) is None
    assert thread.state is ThreadState.INACTIVE


def test_FAULT0013_handler_gone(machine: Machine) -> None:
    """A thread whose handler capability was revoked becomes Inactive at its fault."""
    thread, endpoint = faulting(machine)
    machine.revoke(endpoint)
    assert send(thread, cptr=BAD) is None
    assert thread.state is ThreadState.INACTIVE
    assert not is_empty(machine, endpoint)


@pytest.mark.parametrize("rights", range(16))
def test_FAULT0014_handler_rights(machine: Machine, rights: int) -> None:
    """A fault handler needs Write, and Grant or GrantReply: other capabilities are refused when they are set."""
    limited = machine.copy(machine.retype(ObjectType.ENDPOINT), rights)
    good = bool(rights & Rights.WRITE and rights & (Rights.GRANT | Rights.GRANT_REPLY))
    thread = machine.thread("thread")
    error = machine.root.invoke(thread.cap, Label.TCB_SET_TIMEOUT_ENDPOINT, (), [limited])
    assert error == ((Error.NO_ERROR, ()) if good else (Error.INVALID_CAPABILITY, (1,)))
    caps = [limited, thread.cnode, InitialSlot.VSPACE]
    error = machine.root.invoke(thread.cap, Label.TCB_SET_SPACE, (0, 0), caps)
    assert error == ((Error.NO_ERROR, ()) if good else (Error.INVALID_CAPABILITY, (1,)))


def test_FAULT0015_badge_names_the_faulter(machine: Machine) -> None:
    """The handler gets the badge of the capability that was set for the thread."""
    thread, endpoint = faulting(machine, badge=44)
    assert send(thread, cptr=BAD) is None
    assert got(next_fault(machine, endpoint)).badge == 44


def test_FAULT0016_handler_is_a_copy(machine: Machine) -> None:
    """The TCB keeps a copy of the handler capability: that it was set from may go."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    handler = machine.copy(endpoint)
    thread = machine.thread("faulter", fault_endpoint=handler)
    machine.delete(handler)
    assert send(thread, cptr=BAD) is None
    assert got(next_fault(machine, endpoint)).label == FaultLabel.CAP_FAULT


def test_FAULT0017_waits_like_a_call(machine: Machine) -> None:
    """A faulting thread waits for its handler to receive, and then for the reply."""
    thread, endpoint = faulting(machine)
    assert thread.syscall(UNKNOWN_SYSCALL) is None
    assert thread.state is ThreadState.BLOCKED_ON_SEND
    got(next_fault(machine, endpoint))
    assert thread.state is ThreadState.BLOCKED_ON_REPLY


def test_FAULT0018_handler_without_reply_object(machine: Machine) -> None:
    """A fault taken by a Wait, which brings no reply object, leaves the thread Inactive."""
    thread, endpoint = faulting(machine)
    handler = machine.thread("handler")
    machine.grant(handler, endpoint, ENDPOINT)
    assert handler.syscall(Syscall.WAIT, ENDPOINT) is None
    assert thread.syscall(UNKNOWN_SYSCALL) is None
    assert got(handler.completion()).label == FaultLabel.UNKNOWN_SYSCALL
    assert thread.state is ThreadState.INACTIVE


def test_FAULT0019_waiting_handler(machine: Machine) -> None:
    """A handler that waits gets the fault at once, and its reply lets the thread go on."""
    thread, endpoint = faulting(machine)
    handler = machine.thread("handler")
    machine.grant(handler, endpoint, ENDPOINT)
    assert receive(handler) is None
    assert thread.syscall(UNKNOWN_SYSCALL) is None
    assert len(got(handler.completion()).words) == 19
    answer(handler, (5,))
    assert got(thread.completion()).words == (5,)


def test_FAULT0020_resume_instead_of_reply(machine: Machine) -> None:
    """A thread that waits for its fault's reply can be resumed: the fault is forgotten, its call starts again."""
    thread, endpoint = faulting(machine)
    notification = machine.retype(ObjectType.NOTIFICATION)
    assert thread.syscall(Syscall.SEND, BAD) is None
    got(next_fault(machine, endpoint))
    machine.grant(thread, notification, FREE, badge=1)
    machine.root.call(thread.cap, Label.TCB_RESUME)
    assert got(next_fault(machine, endpoint)).words[1] == BAD
    assert poll(machine, notification) == 0


def test_FAULT0021_suspended_faulter(machine: Machine) -> None:
    """Suspending a thread that waits for its fault's reply makes the reply go nowhere."""
    thread, endpoint = faulting(machine)
    assert thread.syscall(UNKNOWN_SYSCALL) is None
    got(next_fault(machine, endpoint))
    machine.root.call(thread.cap, Label.TCB_SUSPEND)
    reply_to_fault(machine, (1,))
    assert thread.state is ThreadState.INACTIVE


def test_FAULT0022_handler_faults_too(machine: Machine) -> None:
    """A handler that faults is told to its own handler, and the first thread goes on waiting."""
    thread, endpoint = faulting(machine)
    second = machine.retype(ObjectType.ENDPOINT)
    handler = machine.thread("handler", fault_endpoint=second)
    machine.grant(handler, endpoint, ENDPOINT)
    assert receive(handler) is None
    assert thread.syscall(UNKNOWN_SYSCALL) is None
    got(handler.completion())
    assert send(handler, cptr=BAD) is None
    assert got(next_fault(machine, second)).label == FaultLabel.CAP_FAULT
    assert thread.state is ThreadState.BLOCKED_ON_REPLY


def test_FAULT0023_faults_queue_by_priority(machine: Machine) -> None:
    """Faults wait at the handler's endpoint in the order of the threads' priorities, among other messages."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    for priority in (50, 90, 70):
        thread = machine.thread("faulter", priority=priority, fault_endpoint=machine.copy(endpoint, badge=priority))
        assert send(thread, cptr=BAD) is None
    assert [got(next_fault(machine, endpoint)).badge for _ in range(3)] == [90, 70, 50]


def test_FAULT0024_handler_taken_away(machine: Machine) -> None:
    """A fault endpoint set to the null capability takes the handler away."""
    thread, endpoint = faulting(machine)
    set_root(machine, thread, thread.cnode, 0, 56, InitialSlot.NULL)
    assert send(thread, cptr=BAD) is None
    assert thread.state is ThreadState.INACTIVE
    assert got(next_fault(machine, endpoint)).badge == 0


def test_FAULT0025_endpoint_destroyed(machine: Machine) -> None:
    """A thread whose fault message waits at an endpoint that is destroyed becomes Inactive."""
    memory = machine.retype(ObjectType.UNTYPED, abi.FIXED_SIZE_BITS[ObjectType.ENDPOINT])
    endpoint = machine.retype(ObjectType.ENDPOINT, untyped=memory)
    thread = machine.thread("faulter", fault_endpoint=endpoint)
    assert thread.syscall(UNKNOWN_SYSCALL) is None
    assert thread.state is ThreadState.BLOCKED_ON_SEND
    machine.revoke(memory)
    assert thread.state is ThreadState.INACTIVE


def test_FAULT0027_call_after_fault(machine: Machine) -> None:
    """A thread that was let go after a fault makes system calls as before."""
    thread, endpoint = faulting(machine)
    assert thread.syscall(UNKNOWN_SYSCALL) is None
    got(next_fault(machine, endpoint))
    reply_to_fault(machine, (1,))
    got(thread.completion())
    assert got(call(thread, cptr=FREE)).label == Error.INVALID_CAPABILITY


def test_TIMEOUTFAULT0001_handler_is_kept_apart(machine: Machine) -> None:
    """The timeout endpoint does not get other faults."""
    thread = machine.thread("faulter")
    timeout = machine.retype(ObjectType.ENDPOINT)
    machine.root.call(thread.cap, Label.TCB_SET_TIMEOUT_ENDPOINT, (), [timeout])
    assert thread.syscall(UNKNOWN_SYSCALL, reply=OWN_REPLY) is None
    assert thread.state is ThreadState.INACTIVE
    assert got(next_fault(machine, timeout)).badge == 0
