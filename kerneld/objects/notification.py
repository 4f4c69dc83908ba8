"""Notifications: a word of signals, the threads that wait for it, the thread and the scheduling context bound to it.

Signals are or-ed together until somebody takes them. A thread that a notification is bound to gets them while it
waits for a message as well. A notification may own a scheduling context, which it lends to a thread without one for
as long as that thread works on the signal. Source: seL4 Reference Manual 5; SEL4 `sendSignal`, `receiveSignal`.
"""

from __future__ import annotations

from typing import Final

from kerneld import completion, ipc, listening, queues, scheduler
from kerneld.core import Core
from kerneld.objects import sched_context
from kerneld.records import Notification, NotificationState, Tcb, ThreadState

CANCELLED_AT_ONCE: Final = 64  # threads; bounds the stores of one transaction


def send_signal(core: Core, notification: Notification, badge: int) -> None:
    """Or the badge into the word, or hand it to a thread that waits for it. Never blocks."""
    match notification.state:
        case NotificationState.WAITING:
            _wake(core, notification, queues.take_first(notification), badge)
        case NotificationState.ACTIVE:
            notification.signals = notification.signals | badge
        case _:
            bound = notification.bound_tcb
            if bound is not None and bound.state == ThreadState.BLOCKED_ON_RECEIVE:
                ipc.cancel(core, bound)
                _wake(core, notification, bound, badge)
            else:
                notification.signals = badge
                notification.state = NotificationState.ACTIVE
                listening.hint(core, notification)


def _wake(core: Core, notification: Notification, tcb: Tcb, badge: int) -> None:
    completion.complete_unchanged(core, tcb, badge)
    scheduler.set_state(core, tcb, ThreadState.RUNNING)
    _lend_context(core, notification, tcb)


def receive_signal(core: Core, tcb: Tcb, notification: Notification, *, blocking: bool) -> None:
    """Take the signals that are there, or wait for some. Message registers stay as they were submitted."""
    if notification.state == NotificationState.ACTIVE:
        take_signals(core, tcb, notification)
    elif blocking:
        queues.append(notification, tcb)
        notification.state = NotificationState.WAITING
        scheduler.set_state(core, tcb, ThreadState.BLOCKED_ON_NOTIFICATION)
        return_context(core, notification, tcb)
    else:
        completion.complete_empty(core, tcb)


def take_signals(core: Core, tcb: Tcb, notification: Notification) -> None:
    """End the thread's receive with the signals of an active notification, which becomes idle."""
    completion.complete_unchanged(core, tcb, notification.signals)
    notification.signals = 0
    notification.state = NotificationState.IDLE
    _lend_context(core, notification, tcb)


def _lend_context(core: Core, notification: Notification, tcb: Tcb) -> None:
    context = notification.sched_context
    if context is not None and context.tcb is None and tcb.sched_context is None:
        sched_context.donate(core, context, tcb)


def return_context(core: Core, notification: Notification, tcb: Tcb) -> None:
    """A thread that waits again gives back what the notification has lent it."""
    context = notification.sched_context
    if context is not None and context == tcb.sched_context:
        sched_context.unbind_thread(core, context)


def bind(notification: Notification, tcb: Tcb) -> None:
    """Let signals of this notification end the thread's receives. Neither is bound yet."""
    notification.bound_tcb = tcb
    tcb.bound_notification = notification


def unbind(notification: Notification) -> None:
    """Undo `bind`, where there is something to undo."""
    tcb = notification.bound_tcb
    if tcb is not None:
        tcb.bound_notification = None
        notification.bound_tcb = None


def cancel_some(core: Core, notification: Notification) -> bool:
    """Let waiting threads carry out their system calls again.

    Returns whether nobody waits any more; if not, call it again in a later transaction.
    """
    for _ in range(CANCELLED_AT_ONCE):
        tcb = notification.head
        if tcb is None:
            return True
        queues.remove(notification, tcb)
        scheduler.set_state(core, tcb, ThreadState.RESTART)
        scheduler.choose_anew(core)
    return notification.head is None


def finalise(core: Core, notification: Notification) -> None:
    """The last capability is gone: nothing is bound to it any more, and nobody waits."""
    context = notification.sched_context
    if context is not None:
        sched_context.unbind_notification(context)
    unbind(notification)
    while not cancel_some(core, notification):
        pass
