"""Notifications and threads bound to them (manual 5; sel4test's BIND group)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import FaultLabel, InitialSlot, Label, LookupFailureKind, ObjectType, Rights, Syscall
from tests.conformance.scenes import ENDPOINT, FREE, answer, call, context_of, faulting, got, next_fault, pair, poll
from tests.conformance.scenes import receive, send, senders
from tests.harness import Machine, Thread

NOTIFICATION = 5  # slot of a thread's CNode


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


def signal(machine: Machine, notification: int, badge: int) -> None:
    got(send(machine.root, cptr=machine.copy(notification, badge=badge)))


def bound(machine: Machine, notification: int) -> tuple[Thread, int]:
    """A thread bound to the notification, and an endpoint in its slot ENDPOINT."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    thread = machine.thread("bound")
    machine.grant(thread, endpoint, ENDPOINT)
    machine.grant(thread, notification, NOTIFICATION)
    machine.root.call(thread.cap, Label.TCB_BIND_NOTIFICATION, (), [notification])
    return thread, endpoint


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


def test_BIND0001_signal_ends_receive(machine: Machine, notification: int) -> None:
    """A signal ends the receive of the bound thread, which gets the badge and no message."""
    thread, _ = bound(machine, notification)
    assert thread.syscall(Syscall.RECV, ENDPOINT, abi.message_info(9, 1), (5,), reply=thread.reply) is None
    signal(machine, notification, 12)
    done = got(thread.completion())
    assert (done.badge, done.info, done.words) == (12, abi.message_info(9, 1), (5,))


def test_BIND0002_pending_during_reply(machine: Machine, notification: int) -> None:
    """While the bound thread waits for a reply a signal stays pending, and comes with its next receive."""
    thread, endpoint = bound(machine, notification)
    assert call(thread) is None
    signal(machine, notification, 12)
    assert thread.completion() is None
    server = machine.thread("server")
    machine.grant(server, endpoint, ENDPOINT)
    got(receive(server))
    signal(machine, notification, 1)
    assert thread.state is ThreadState.BLOCKED_ON_REPLY
    answer(server, (3,))
    assert got(thread.completion()).words == (3,)
    assert got(receive(thread)).badge == 13


def test_BIND0003_beats_queued_senders(machine: Machine, notification: int) -> None:
    """A pending signal comes before messages that wait."""
    thread, endpoint = bound(machine, notification)
    sender = senders(machine, endpoint, (80,), badge=77)[0]
    assert send(sender, (1,)) is None
    signal(machine, notification, 12)
    assert got(receive(thread)).badge == 12
    assert got(receive(thread)).badge == 77


def test_BIND0004_only_the_bound_thread_waits(machine: Machine, notification: int) -> None:
    """A bound notification can be waited on by its thread alone; others fault in the receive phase."""
    thread, _ = bound(machine, notification)
    other, handler = faulting(machine)
    machine.grant(other, notification, NOTIFICATION)
    assert other.syscall(Syscall.WAIT, NOTIFICATION) is None
    assert got(next_fault(machine, handler)).words[1:4] == (NOTIFICATION, 1, LookupFailureKind.MISSING_CAPABILITY)
    assert thread.syscall(Syscall.WAIT, NOTIFICATION) is None
    signal(machine, notification, 5)
    assert got(thread.completion()).badge == 5


def test_BIND0005_unbind(machine: Machine, notification: int) -> None:
    """After UnbindNotification signals do not end the thread's receives any more."""
    thread, _ = bound(machine, notification)
    assert receive(thread) is None
    machine.root.call(thread.cap, Label.TCB_UNBIND_NOTIFICATION)
    signal(machine, notification, 5)
    assert thread.state is ThreadState.BLOCKED_ON_RECEIVE
    assert poll(machine, notification) == 5


def test_BIND0006_deleted_notification(machine: Machine) -> None:
    """A notification that is deleted is unbound; the thread can be bound to another."""
    memory = machine.retype(ObjectType.UNTYPED, 6)
    thread, _ = bound(machine, machine.retype(ObjectType.NOTIFICATION, untyped=memory))
    assert receive(thread) is None
    machine.revoke(memory)
    assert thread.state is ThreadState.BLOCKED_ON_RECEIVE
    other = machine.retype(ObjectType.NOTIFICATION)
    machine.root.call(thread.cap, Label.TCB_BIND_NOTIFICATION, (), [other])
    signal(machine, other, 5)
    assert got(thread.completion()).badge == 5


def test_BIND0007_deleted_thread(machine: Machine, notification: int) -> None:
    """A thread that is deleted is unbound; the notification can be bound to another."""
    thread, _ = bound(machine, notification)
    machine.revoke(thread.cap)
    machine.delete(thread.cap)
    other, _ = bound(machine, notification)
    assert receive(other) is None
    signal(machine, notification, 5)
    assert got(other.completion()).badge == 5


def test_BIND0008_reply_object_is_free_again(machine: Machine, notification: int) -> None:
    """A receive that a signal ended leaves its reply object free for others."""
    thread, _ = bound(machine, notification)
    assert receive(thread) is None
    signal(machine, notification, 5)
    got(thread.completion())
    other = machine.thread("other")
    machine.grant(other, machine.retype(ObjectType.ENDPOINT), ENDPOINT)
    machine.root.call(other.cnode, Label.CNODE_COPY, (FREE, 8, thread.reply, 8, 15), [thread.cnode])
    assert other.syscall(Syscall.RECV, ENDPOINT, reply=FREE) is None
    assert thread.state is ThreadState.RUNNING


def test_BIND0009_other_waits_are_not_ended(machine: Machine, notification: int) -> None:
    """A signal does not end the bound thread's Wait on another notification, nor its Send."""
    thread, _ = bound(machine, notification)
    machine.grant(thread, machine.retype(ObjectType.NOTIFICATION), FREE)
    assert thread.syscall(Syscall.WAIT, FREE) is None
    signal(machine, notification, 5)
    assert thread.state is ThreadState.BLOCKED_ON_NOTIFICATION
    assert thread.completion() is None


def test_BIND0010_nonblocking_receive(machine: Machine, notification: int) -> None:
    """A non-blocking receive of the bound thread takes a pending signal as well."""
    thread, _ = bound(machine, notification)
    signal(machine, notification, 5)
    assert got(thread.syscall(Syscall.NB_RECV, ENDPOINT, reply=thread.reply)).badge == 5
    assert got(thread.syscall(Syscall.NB_RECV, ENDPOINT, reply=thread.reply)).badge == 0


@pytest.mark.parametrize("rights", range(16))
def test_BIND0011_needs_read(machine: Machine, notification: int, rights: int) -> None:
    """Binding needs Read on the notification: IllegalOperation without it."""
    thread = machine.thread("thread")
    limited = machine.copy(notification, rights)
    error, _ = machine.root.invoke(thread.cap, Label.TCB_BIND_NOTIFICATION, (), [limited])
    assert error == (0 if rights & Rights.READ else abi.Error.ILLEGAL_OPERATION)


def test_BIND0012_message_after_signal(machine: Machine, notification: int) -> None:
    """A bound server takes messages and signals by one receive, in turn."""
    scene = pair(machine, badge=8)
    machine.root.call(scene.server.cap, Label.TCB_BIND_NOTIFICATION, (), [notification])
    assert receive(scene.server) is None
    assert call(scene.client, (1,)) is None
    assert got(scene.server.completion()).badge == 8
    signal(machine, notification, 16)
    done = scene.server.syscall(Syscall.REPLY_RECV, ENDPOINT, words=(2,), reply=scene.server.reply)
    assert got(done).badge == 16
    assert got(scene.client.completion()).words == (2,)
