"""Scheduling contexts as objects: configured, bound, taken away, asked (manual 6.1.6)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py.abi import InitialSlot, Label, ObjectType, Syscall
from tests.conformance.scenes import (
    ENDPOINT,
    NOTIFICATION,
    SCHED_CONTROL,
    context_of,
    got,
    is_empty,
    receive,
    send,
    signal,
)
from tests.harness import OWN_SCHED_CONTEXT, Machine, Thread

CONFIGURE = Label.SCHED_CONTROL_CONFIGURE_FLAGS


@pytest.fixture
def idle(machine: Machine) -> Thread:
    """A resumed thread without a scheduling context."""
    return machine.thread("idle", passive=True)


def configure(machine: Machine, context: int, *words: int) -> None:
    machine.root.call(SCHED_CONTROL, CONFIGURE, words, [context])


def bind(machine: Machine, context: int, slot: int) -> None:
    machine.root.call(context, Label.SCHED_CONTEXT_BIND, (), [slot])


def set_consumed(machine: Machine, context: int, microseconds: int) -> None:
    with machine.ram.transaction():
        context_of(machine, context).consumed = microseconds


def test_SCHED0001_thread_needs_a_context(machine: Machine, idle: Thread) -> None:
    """A thread without a scheduling context does not run; bound to one it does."""
    assert idle.syscall(Syscall.YIELD) is None
    bind(machine, machine.sched_context(), idle.cap)
    assert idle.tcb.sched_context is not None
    got(idle.syscall(Syscall.YIELD))


def test_SCHED0002_context_needs_a_budget(machine: Machine, idle: Thread) -> None:
    """A thread bound to a scheduling context that is not configured does not run until it is configured."""
    context = machine.retype(ObjectType.SCHED_CONTEXT, 8)
    bind(machine, context, idle.cap)
    assert idle.syscall(Syscall.YIELD) is None
    configure(machine, context, 5000, 5000, 0, 0, 0)
    got(idle.syscall(Syscall.YIELD))


def test_SCHED0003_unbind(machine: Machine) -> None:
    """Unbind stops the thread where it is; bound again, it goes on."""
    thread = machine.thread("thread")
    machine.root.call(thread.sched_context, Label.SCHED_CONTEXT_UNBIND)
    assert thread.syscall(Syscall.YIELD) is None
    assert thread.state is ThreadState.RUNNING
    bind(machine, thread.sched_context, thread.cap)
    got(thread.completion())


def test_SCHED0004_unbind_object(machine: Machine) -> None:
    """UnbindObject unbinds from the thread or notification that is named."""
    thread, notification = machine.thread("thread"), machine.retype(ObjectType.NOTIFICATION)
    machine.root.call(thread.sched_context, Label.SCHED_CONTEXT_UNBIND_OBJECT, (), [thread.cap])
    assert context_of(machine, thread.sched_context).tcb is None
    bind(machine, thread.sched_context, notification)
    machine.root.call(thread.sched_context, Label.SCHED_CONTEXT_UNBIND_OBJECT, (), [notification])
    assert context_of(machine, thread.sched_context).notification is None


def test_SCHED0005_unbind_notification(machine: Machine) -> None:
    """Unbind also frees the notification that is bound."""
    context, notification = machine.sched_context(), machine.retype(ObjectType.NOTIFICATION)
    bind(machine, context, notification)
    machine.root.call(context, Label.SCHED_CONTEXT_UNBIND)
    bind(machine, machine.sched_context(), notification)


def test_SCHED0006_deleted_context(machine: Machine) -> None:
    """A thread whose scheduling context is deleted stops until it gets another one."""
    thread = machine.thread("thread")
    machine.revoke(thread.sched_context)
    machine.delete(thread.sched_context)
    assert thread.syscall(Syscall.YIELD) is None
    bind(machine, machine.sched_context(), thread.cap)
    got(thread.completion())


def test_SCHED0007_deleted_thread(machine: Machine) -> None:
    """A scheduling context whose thread is deleted can be bound to another."""
    thread, other = machine.thread("thread"), machine.thread("other", passive=True)
    machine.revoke(thread.cap)
    machine.delete(thread.cap)
    bind(machine, thread.sched_context, other.cap)
    got(other.syscall(Syscall.YIELD))


def test_SCHED0008_consumed(machine: Machine) -> None:
    """Consumed returns the microseconds since the last such call, and starts anew from 0."""
    context = machine.sched_context()
    set_consumed(machine, context, 1234)
    assert machine.root.call(context, Label.SCHED_CONTEXT_CONSUMED) == (1234,)
    assert machine.root.call(context, Label.SCHED_CONTEXT_CONSUMED) == (0,)


def test_SCHED0009_yield_to(machine: Machine) -> None:
    """YieldTo returns what the target has consumed, and starts its count anew."""
    thread = machine.thread("thread")
    set_consumed(machine, thread.sched_context, 55)
    assert machine.root.call(thread.sched_context, Label.SCHED_CONTEXT_YIELD_TO) == (55,)
    assert machine.root.call(thread.sched_context, Label.SCHED_CONTEXT_CONSUMED) == (0,)


def test_SCHED0010_configure_again(machine: Machine) -> None:
    """A scheduling context can be configured again while its thread runs, also by that thread."""
    thread = machine.thread("thread")
    configure(machine, thread.sched_context, 100, 1000, 2, 9, 1)
    machine.grant(thread, SCHED_CONTROL, 10)
    thread.call(10, CONFIGURE, (200, 2000, 0, 0, 0), [OWN_SCHED_CONTEXT])
    thread.call(10, CONFIGURE, (200, 200, 0, 0, 0), [OWN_SCHED_CONTEXT])
    got(thread.syscall(Syscall.YIELD))


@pytest.mark.parametrize(("bits", "most"), [(7, 0), (8, 8), (9, 24), (12, 248)])
def test_SCHED0011_refills_by_size(machine: Machine, bits: int, most: int) -> None:
    """A scheduling context of 2^bits bytes has room for (2^bits - 128) / 16 extra refills."""
    context = machine.retype(ObjectType.SCHED_CONTEXT, bits)
    configure(machine, context, 100, 1000, most, 0, 0)
    refused = machine.root.invoke(SCHED_CONTROL, CONFIGURE, (100, 1000, most + 1, 0, 0), [context])
    assert refused == (4, (0, most))


def test_SCHED0012_one_thread_each(machine: Machine) -> None:
    """A scheduling context serves one thread and a thread runs on one scheduling context."""
    first, second = machine.thread("first"), machine.thread("second")
    for context, thread in ((first.sched_context, second), (machine.sched_context(), second)):
        assert machine.root.invoke(context, Label.SCHED_CONTEXT_BIND, (), [thread.cap]) == (3, ())


def test_SCHED0013_bind_to_a_blocked_thread(machine: Machine) -> None:
    """A configured scheduling context can be bound to a thread that waits; it runs when its wait ends."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    thread = machine.thread("waiter")
    machine.grant(thread, endpoint, ENDPOINT)
    assert receive(thread) is None
    machine.root.call(thread.sched_context, Label.SCHED_CONTEXT_UNBIND)
    bind(machine, machine.sched_context(), thread.cap)
    send(machine.root, (3,), endpoint)
    assert got(thread.completion()).words == (3,)


def test_SCHED0014_revoke_unbinds(machine: Machine) -> None:
    """Revoking the memory of a scheduling context unbinds it from its thread and its notification."""
    memory = machine.retype(ObjectType.UNTYPED, 8)
    context = machine.retype(ObjectType.SCHED_CONTEXT, 8, untyped=memory)
    notification = machine.retype(ObjectType.NOTIFICATION)
    bind(machine, context, notification)
    machine.revoke(memory)
    assert is_empty(machine, context)
    bind(machine, machine.sched_context(), notification)


def test_SCHED0015_state_and_time_are_two(machine: Machine, idle: Thread) -> None:
    """A suspended thread that gets a scheduling context does not run before it is resumed."""
    machine.root.call(idle.cap, Label.TCB_SUSPEND)
    context = machine.sched_context()
    bind(machine, context, idle.cap)
    assert idle.syscall(Syscall.YIELD) is None
    machine.root.call(idle.cap, Label.TCB_RESUME)
    got(idle.syscall(Syscall.YIELD))


def test_SCHED0016_thread_and_notification(machine: Machine) -> None:
    """A scheduling context can serve a thread and be a notification's: a thread that waits for that gives it up."""
    thread, notification = machine.thread("thread"), machine.retype(ObjectType.NOTIFICATION)
    machine.grant(thread, notification, NOTIFICATION)
    bind(machine, thread.sched_context, notification)
    assert thread.syscall(Syscall.WAIT, NOTIFICATION) is None
    assert context_of(machine, thread.sched_context).tcb is None
    signal(machine, notification, 2)
    assert got(thread.completion()).badge == 2
    assert context_of(machine, thread.sched_context).tcb == thread.tcb


def test_DOMAINS0001_set(machine: Machine) -> None:
    """DomainSet_Set moves a thread into a domain, and back."""
    thread = machine.thread("thread")
    for domain in (15, 0):
        machine.root.call(InitialSlot.DOMAIN, Label.DOMAIN_SET, (domain,), [thread.cap])
        assert thread.tcb.domain == domain


def test_DOMAINS0002_schedule(machine: Machine) -> None:
    """An entry of the domain schedule that was configured can be made its start; cleared, it cannot."""
    domain = InitialSlot.DOMAIN
    machine.root.call(domain, Label.DOMAIN_SCHEDULE_CONFIGURE, (3, 2, 500))
    machine.root.call(domain, Label.DOMAIN_SCHEDULE_SET_START, (3,))
    assert machine.root.invoke(domain, Label.DOMAIN_SCHEDULE_CONFIGURE, (3, 0, 0)) == (1, (2,))
    machine.root.call(domain, Label.DOMAIN_SCHEDULE_SET_START, (0,))
    machine.root.call(domain, Label.DOMAIN_SCHEDULE_CONFIGURE, (3, 0, 0))
    assert machine.root.invoke(domain, Label.DOMAIN_SCHEDULE_SET_START, (3,)) == (1, (0,))


def test_DOMAINS0003_messages_cross(machine: Machine) -> None:
    """Threads of different domains can send to each other."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    thread = machine.thread("thread")
    machine.grant(thread, endpoint, ENDPOINT)
    machine.root.call(InitialSlot.DOMAIN, Label.DOMAIN_SET, (4,), [thread.cap])
    assert receive(thread) is None
    got(send(machine.root, (1,), endpoint))
    assert got(thread.completion()).words == (1,)
