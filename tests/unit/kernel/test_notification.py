"""Notifications: signals, waiting, binding, and a lent scheduling context (seL4 Reference Manual 5)."""

from collections.abc import Callable

import pytest

from kerneld.records import CapType, NotificationState, ThreadState
from libsel4py.abi import Error, FaultLabel, InitialSlot, Label, ObjectType, Rights, Status, Syscall
from tests.harness import OWN_REPLY, Thread

from .scene import ENDPOINT, OTHER, Scene, call, message, receive, reply_receive, send


def scene_with_notification(*badges: int) -> tuple[Scene, int, Thread, list[Thread]]:
    """A waiter, and one signaller a badge. All hold the notification in slot OTHER."""
    scene = Scene()
    slot = scene.machine.retype(ObjectType.NOTIFICATION)
    waiter = scene.thread("waiter")
    scene.machine.grant(waiter, slot, OTHER)
    signallers = []
    for badge in badges:
        signallers.append(scene.thread(f"signaller{badge}"))
        scene.machine.grant(signallers[-1], slot, OTHER, badge=badge)
    return scene, slot, waiter, signallers


def signal(thread: Thread) -> None:
    assert thread.syscall(Syscall.SEND, OTHER) is not None


def bind(scene: Scene, thread: Thread, slot: int) -> None:
    scene.machine.root.call(thread.cap, Label.TCB_BIND_NOTIFICATION, (), [slot])


def test_signals_are_ored_until_they_are_taken() -> None:
    scene, slot, waiter, (one, two, four) = scene_with_notification(1, 2, 4)
    for thread in (one, four, one):
        signal(thread)
    assert message(waiter.syscall(Syscall.WAIT, OTHER)) == (5, 0, ())
    assert scene.notification_record(slot).state == NotificationState.IDLE
    assert waiter.syscall(Syscall.WAIT, OTHER) is None
    signal(two)
    assert message(waiter.completion()) == (2, 0, ())


def test_a_signal_without_badge_wakes_and_activates() -> None:
    scene, slot, waiter, (nothing,) = scene_with_notification(0)
    signal(nothing)
    assert scene.notification_record(slot).state == NotificationState.ACTIVE
    assert message(waiter.syscall(Syscall.WAIT, OTHER)) == (0, 0, ())
    assert waiter.syscall(Syscall.WAIT, OTHER) is None
    signal(nothing)
    assert message(waiter.completion()) == (0, 0, ())


@pytest.mark.parametrize("op", [Syscall.NB_WAIT, Syscall.NB_RECV])
def test_polling(op: Syscall) -> None:
    _, _, waiter, (one,) = scene_with_notification(1)
    assert message(waiter.syscall(op, OTHER, words=(8,), label=3)) == (0, 3, (8,))
    signal(one)
    assert message(waiter.syscall(op, OTHER, words=(8,), label=3)) == (1, 3, (8,))


def test_one_signal_wakes_one_waiter_the_most_important_first() -> None:
    scene, slot, waiter, (one,) = scene_with_notification(1)
    urgent = scene.thread("urgent", priority=101 - 1)
    scene.machine.root.call(waiter.cap, Label.TCB_SET_PRIORITY, (50,), [InitialSlot.TCB])
    scene.machine.grant(urgent, slot, OTHER)
    for thread in (waiter, urgent):
        assert thread.syscall(Syscall.WAIT, OTHER) is None
    signal(one)
    assert (waiter.state, urgent.state) == (ThreadState.BLOCKED_ON_NOTIFICATION, ThreadState.RUNNING)
    signal(one)
    assert waiter.state is ThreadState.RUNNING


def test_call_signals_and_completes() -> None:
    scene, slot, _, (one,) = scene_with_notification(1)
    assert one.invoke(OTHER) == (0, ())
    assert scene.notification_record(slot).signals == 1


def test_a_bound_signal_ends_a_receive_with_the_badge_alone() -> None:
    scene, slot, waiter, (one,) = scene_with_notification(1)
    bind(scene, waiter, slot)
    assert waiter.syscall(Syscall.RECV, ENDPOINT, words=(6, 7), label=9, reply=OWN_REPLY) is None
    signal(one)
    assert message(waiter.completion()) == (1, 9, (6, 7))
    assert (waiter.tcb.reply, scene.endpoint_record().head) == (None, None)
    assert scene.notification_record(slot).state == NotificationState.IDLE


def test_a_pending_bound_signal_comes_before_queued_senders() -> None:
    scene, slot, waiter, (one,) = scene_with_notification(1)
    bind(scene, waiter, slot)
    client = scene.thread("client", badge=40)
    send(client, (1,))
    signal(one)
    assert message(receive(waiter)) == (1, 0, ())
    assert message(receive(waiter)) == (40, 0, (1,))


def test_a_bound_signal_stays_pending_while_its_thread_waits_for_a_reply() -> None:
    scene, slot, waiter, (one,) = scene_with_notification(1)
    bind(scene, waiter, slot)
    server = scene.thread("server")
    receive(server)
    call(waiter)
    signal(one)
    assert waiter.state is ThreadState.BLOCKED_ON_REPLY
    assert scene.notification_record(slot).state == NotificationState.ACTIVE
    server.completion()
    reply_receive(server)
    waiter.completion()
    assert message(receive(waiter)) == (1, 0, ())


def test_only_the_bound_thread_waits_on_a_bound_notification() -> None:
    scene, slot, waiter, (one,) = scene_with_notification(1)
    bind(scene, waiter, slot)
    faults = scene.machine.retype(ObjectType.ENDPOINT)
    handler = scene.thread("handler")
    scene.machine.grant(handler, faults, 3)
    other = scene.thread("other", fault_endpoint=faults)
    scene.machine.grant(other, slot, OTHER)
    assert other.syscall(Syscall.WAIT, OTHER) is None
    assert message(receive(handler, 3))[1] == FaultLabel.CAP_FAULT
    assert waiter.syscall(Syscall.WAIT, OTHER) is None
    signal(one)
    assert message(waiter.completion()) == (1, 0, ())


def test_binding_is_refused_where_something_is_bound_or_waits() -> None:
    scene, slot, waiter, (one,) = scene_with_notification(1)
    root = scene.machine.root
    second = scene.machine.retype(ObjectType.NOTIFICATION)
    deaf = scene.machine.copy(second, Rights.WRITE)
    label = Label.TCB_BIND_NOTIFICATION
    assert root.invoke(waiter.cap, label) == (Error.TRUNCATED_MESSAGE, ())
    assert root.invoke(waiter.cap, label, (), [scene.endpoint]) == (Error.ILLEGAL_OPERATION, ())
    assert root.invoke(waiter.cap, label, (), [deaf]) == (Error.ILLEGAL_OPERATION, ())
    assert root.invoke(waiter.cap, Label.TCB_UNBIND_NOTIFICATION) == (Error.ILLEGAL_OPERATION, ())
    bind(scene, waiter, slot)
    assert root.invoke(waiter.cap, label, (), [second]) == (Error.ILLEGAL_OPERATION, ())
    assert root.invoke(one.cap, label, (), [slot]) == (Error.ILLEGAL_OPERATION, ())
    root.call(waiter.cap, Label.TCB_UNBIND_NOTIFICATION)
    assert waiter.syscall(Syscall.WAIT, OTHER) is None
    assert root.invoke(one.cap, label, (), [slot]) == (Error.ILLEGAL_OPERATION, ())


def test_after_unbinding_signals_leave_receives_alone() -> None:
    scene, slot, waiter, (one,) = scene_with_notification(1)
    bind(scene, waiter, slot)
    receive(waiter)
    scene.machine.root.call(waiter.cap, Label.TCB_UNBIND_NOTIFICATION)
    signal(one)
    assert waiter.state is ThreadState.BLOCKED_ON_RECEIVE


@pytest.mark.parametrize("rights", [Rights.NONE, Rights.READ])
def test_signalling_needs_write(rights: int) -> None:
    scene, slot, _, (one,) = scene_with_notification(1)
    scene.machine.grant(one, slot, 3, rights)
    assert one.invoke(3) == (Error.INVALID_CAPABILITY, (0,))
    assert one.syscall(Syscall.SEND, 3) is not None
    assert scene.notification_record(slot).state == NotificationState.IDLE


def test_deleting_the_notification_unbinds_it_and_lets_waiters_try_again() -> None:
    scene, slot, waiter, (one,) = scene_with_notification(1)
    second = scene.machine.retype(ObjectType.NOTIFICATION)
    bind(scene, one, second)
    assert waiter.syscall(Syscall.WAIT, OTHER) is None
    for gone in (slot, second):
        scene.machine.revoke(gone)
        scene.machine.delete(gone)
    # the waiter's capability is gone as well: it faults, and has no handler
    assert waiter.state is ThreadState.INACTIVE
    assert one.tcb.bound_notification is None


def test_deleting_a_bound_thread_frees_the_notification() -> None:
    scene, slot, waiter, (one,) = scene_with_notification(1)
    bind(scene, waiter, slot)
    scene.machine.revoke(waiter.cap)
    scene.machine.delete(waiter.cap)
    assert scene.notification_record(slot).bound_tcb is None
    bind(scene, one, slot)


def test_cancel_ends_a_wait() -> None:
    scene, slot, waiter, _ = scene_with_notification()
    waiter.syscall(Syscall.WAIT, OTHER)
    waiter.submit(Syscall.CANCEL)
    scene.machine.run()
    done = waiter.completion()
    assert done is not None
    assert done.status is Status.CANCELLED
    assert scene.notification_record(slot).state == NotificationState.IDLE


# --- a scheduling context that belongs to the notification


def passive_waiter() -> tuple[Scene, int, int, Thread, Thread]:
    """A passive thread that waits, and the notification's scheduling context: scene, notification, context, threads."""
    scene, slot, signaller, _ = scene_with_notification()
    context = scene.machine.sched_context()
    scene.machine.root.call(context, Label.SCHED_CONTEXT_BIND, (), [slot])
    passive = scene.machine.thread("passive", passive=True)
    scene.machine.grant(passive, slot, OTHER)
    scene.machine.grant(passive, scene.endpoint, ENDPOINT)
    # it borrows a context for its first steps
    borrowed = scene.machine.sched_context()
    scene.machine.root.call(borrowed, Label.SCHED_CONTEXT_BIND, (), [passive.cap])
    return scene, slot, context, passive, signaller


def take_back(scene: Scene, passive: Thread) -> None:
    held = passive.tcb.sched_context
    assert held is not None
    with scene.machine.ram.transaction():
        held.tcb = None
        passive.tcb.sched_context = None


@pytest.mark.parametrize("wait", [lambda thread: thread.syscall(Syscall.WAIT, OTHER), lambda thread: receive(thread)])
def test_a_passive_waiter_is_lent_the_context_and_gives_it_back_when_it_waits_again(
    wait: Callable[[Thread], object],
) -> None:
    scene, slot, context_slot, passive, signaller = passive_waiter()
    bind(scene, passive, slot)
    wait(passive)
    take_back(scene, passive)
    context = scene.context_record(context_slot)
    signal(signaller)
    assert (passive.state, passive.tcb.sched_context, context.tcb) == (ThreadState.RUNNING, context, passive.tcb)
    passive.completion()
    wait(passive)
    assert (passive.tcb.sched_context, context.tcb) == (None, None)
    assert context.notification is not None


def test_a_context_in_use_is_not_lent_twice() -> None:
    scene, slot, context_slot, passive, signaller = passive_waiter()
    second = scene.machine.thread("second", passive=True)
    scene.machine.grant(second, slot, OTHER)
    borrowed = scene.machine.sched_context()
    scene.machine.root.call(borrowed, Label.SCHED_CONTEXT_BIND, (), [second.cap])
    for thread in (passive, second):
        assert thread.syscall(Syscall.WAIT, OTHER) is None
        take_back(scene, thread)
    signal(signaller)
    signal(signaller)
    assert scene.context_record(context_slot).tcb == passive.tcb
    assert (second.state, second.tcb.sched_context) == (ThreadState.RUNNING, None)
    assert second.completion() is None  # it has its signal and no time to look at it
    scene.machine.root.call(borrowed, Label.SCHED_CONTEXT_BIND, (), [second.cap])
    assert message(second.completion()) == (0, 0, ())


def test_deleting_the_notification_unbinds_its_context() -> None:
    scene, slot, context_slot, _, _ = passive_waiter()
    scene.machine.revoke(slot)
    scene.machine.delete(slot)
    assert scene.context_record(context_slot).notification is None
    assert scene.machine.slot(context_slot).cap_type == CapType.SCHED_CONTEXT
