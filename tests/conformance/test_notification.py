"""Notifications and threads bound to them (manual 5; sel4test's BIND group)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import FaultLabel, InitialSlot, Label, LookupFailureKind, ObjectType, Syscall
from tests.conformance.scenes import (
    NOTIFICATION,
    bound,
    call,
    context_of,
    faulting,
    got,
    next_fault,
    poll,
    receive,
    send,
    signal,
)
from tests.harness import Machine, Thread


@pytest.fixture
def notification(machine: Machine) -> int:
    return machine.retype(ObjectType.NOTIFICATION)


def waiters(machine: Machine, notification: int, priorities: tuple[int, ...]) -> list[Thread]:
    threads = []
    for number, priority in enumerate(priorities):
        thread = machine.thread(f"waiter{number}", priority=priority)
        machine.grant(thread, notification, NOTIFICATION)
        assert thread.syscall(Syscall.WAIT, NOTIFICATION) is None
        threads.append(thread)
    return threads


def test_NOTIFICATION0001_signal_then_wait(machine: Machine, notification: int) -> None:
    """A signal is kept until somebody waits, who gets its badge, once."""
    signal(machine, notification, 6)
    assert poll(machine, notification) == 6
    assert poll(machine, notification) == 0


def test_NOTIFICATION0002_badges_are_ored(machine: Machine, notification: int) -> None:
    """Badges of signals that nobody took yet are or-ed together."""
    for badge in (1, 6, 1 << 63):
        signal(machine, notification, badge)
    assert poll(machine, notification) == 1 | 6 | 1 << 63


def test_NOTIFICATION0003_wakes_one(machine: Machine, notification: int) -> None:
    """A signal wakes one waiting thread, which gets the badge; the others go on waiting."""
    threads = waiters(machine, notification, (80, 80))
    signal(machine, notification, 9)
    assert got(threads[0].completion()).badge == 9
    assert threads[1].state is ThreadState.BLOCKED_ON_NOTIFICATION
    assert poll(machine, notification) == 0


def test_NOTIFICATION0004_badge_zero_wakes(machine: Machine, notification: int) -> None:
    """A signal with badge 0 wakes a waiting thread as well."""
    thread = waiters(machine, notification, (80,))[0]
    send(machine.root, cptr=notification)
    assert got(thread.completion()).badge == 0


def test_NOTIFICATION0005_badge_zero_is_kept(machine: Machine, notification: int) -> None:
    """A signal with badge 0 that nobody waits for is kept: the next Wait does not block."""
    send(machine.root, cptr=notification)
    thread = machine.thread("waiter")
    machine.grant(thread, notification, NOTIFICATION)
    assert got(thread.syscall(Syscall.WAIT, NOTIFICATION)).badge == 0
    assert thread.syscall(Syscall.WAIT, NOTIFICATION) is None


def test_NOTIFICATION0006_queue_by_priority(machine: Machine, notification: int) -> None:
    """Waiting threads are woken by priority, and in the order of their coming within one."""
    threads = waiters(machine, notification, (70, 90, 80, 90))
    order = []
    for _ in threads:
        signal(machine, notification, 1)
        order += [number for number, thread in enumerate(threads) if thread.completion() is not None]
    assert order == [1, 3, 2, 0]


def test_NOTIFICATION0007_priority_change_requeues(machine: Machine, notification: int) -> None:
    """A waiting thread whose priority changes moves to its new place in the queue."""
    threads = waiters(machine, notification, (90, 80))
    machine.root.call(threads[1].cap, Label.TCB_SET_PRIORITY, (95,), [InitialSlot.TCB])
    signal(machine, notification, 1)
    assert threads[1].completion() is not None
    assert threads[0].completion() is None


@pytest.mark.parametrize("op", [Syscall.WAIT, Syscall.RECV, Syscall.NB_WAIT, Syscall.NB_RECV])
def test_NOTIFICATION0008_registers_stay(machine: Machine, notification: int, op: int) -> None:
    """Waiting on a notification leaves message info and registers as they were."""
    signal(machine, notification, 3)
    info = abi.message_info(77, 4)
    done = got(machine.root.syscall(op, notification, info, (1, 2, 3, 4)))
    assert (done.badge, done.info, done.registers) == (3, info, (1, 2, 3, 4))


def test_NOTIFICATION0009_reply_is_ignored(machine: Machine, notification: int) -> None:
    """A Recv on a notification does not look at the reply capability."""
    signal(machine, notification, 3)
    assert got(machine.root.syscall(Syscall.RECV, notification, reply=1 << 60)).badge == 3


def test_NOTIFICATION0010_call_signals(machine: Machine, notification: int) -> None:
    """A Call on a notification signals it and is answered at once with label 0."""
    badged = machine.copy(notification, badge=2)
    done = got(call(machine.root, (1, 2), badged))
    assert (done.label, done.words) == (0, ())
    assert poll(machine, notification) == 2


def test_NOTIFICATION0011_deleted(machine: Machine) -> None:
    """When the last capability goes, waiting threads carry out their Wait again, and fault."""
    memory = machine.retype(ObjectType.UNTYPED, 6)
    notification = machine.retype(ObjectType.NOTIFICATION, untyped=memory)
    thread, handler = faulting(machine)
    machine.grant(thread, notification, NOTIFICATION)
    assert thread.syscall(Syscall.WAIT, NOTIFICATION) is None
    machine.revoke(memory)
    fault = got(next_fault(machine, handler))
    assert fault.label == FaultLabel.CAP_FAULT
    assert fault.words[1:4] == (NOTIFICATION, 1, LookupFailureKind.MISSING_CAPABILITY)


def test_NOTIFICATION0012_suspended_waiter(machine: Machine, notification: int) -> None:
    """A suspended waiter leaves the queue; resumed, it waits again."""
    thread = waiters(machine, notification, (80,))[0]
    machine.root.call(thread.cap, Label.TCB_SUSPEND)
    signal(machine, notification, 4)
    assert thread.completion() is None
    machine.root.call(thread.cap, Label.TCB_RESUME)
    assert got(thread.completion()).badge == 4


def test_NOTIFICATION0013_lends_its_context(machine: Machine, notification: int) -> None:
    """A notification with a scheduling context lends it to a passive waiter, and gets it back at the next Wait."""
    thread = waiters(machine, notification, (80,))[0]
    machine.root.call(thread.sched_context, Label.SCHED_CONTEXT_UNBIND)
    context = machine.sched_context()
    machine.root.call(context, Label.SCHED_CONTEXT_BIND, (), [notification])
    signal(machine, notification, 4)
    assert got(thread.completion()).badge == 4
    assert context_of(machine, context).tcb == thread.tcb
    assert thread.syscall(Syscall.WAIT, NOTIFICATION) is None
    assert context_of(machine, context).tcb is None
    assert thread.tcb.sched_context is None


def test_NOTIFICATION0014_context_returns_on_receive(machine: Machine, notification: int) -> None:
    """A bound thread gives the lent context back when it waits for a message at an endpoint."""
    thread, _ = bound(machine, notification)
    assert receive(thread) is None
    machine.root.call(thread.sched_context, Label.SCHED_CONTEXT_UNBIND)
    context = machine.sched_context()
    machine.root.call(context, Label.SCHED_CONTEXT_BIND, (), [notification])
    signal(machine, notification, 4)
    assert got(thread.completion()).badge == 4
    assert context_of(machine, context).tcb == thread.tcb
    assert receive(thread) is None
    assert context_of(machine, context).tcb is None
