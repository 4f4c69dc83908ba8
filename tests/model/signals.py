"""Notifications in the specification: signals, waiting for them, and the time that they lend (seL4's MCS API)."""

from __future__ import annotations

from libsel4py.abi import Status
from tests.model.system import Notification, State, System, Thread
from tests.model.waiting import cancel


def signal(system: System, address: int, badge: int) -> None:
    target = system.notifications[address]
    bound = None if target.bound is None else system.threads[target.bound]
    if target.queue:
        waiter = system.threads[target.queue[0]]
        system.dequeue(waiter)
        _wake(system, waiter, target, badge)
    elif not target.active and bound is not None and bound.state is State.BLOCKED_ON_RECEIVE:
        cancel(system, bound)
        _wake(system, bound, target, badge)
    else:
        target.signals = target.signals | badge if target.active else badge
        target.active = True


def _wake(system: System, thread: Thread, target: Notification, badge: int) -> None:
    system.complete_unchanged(thread, badge)
    system.set_state(thread, State.RUNNING)
    _lend(system, thread, target)


def wait(system: System, thread: Thread, address: int, *, blocking: bool) -> None:
    target = system.notifications[address]
    if target.active:
        take_signals(system, thread, target)
    elif blocking:
        system.enqueue(address, thread)
        system.set_state(thread, State.BLOCKED_ON_NOTIFICATION)
        give_back(system, thread, target)
    else:
        system.complete_unchanged(thread, 0, Status.EMPTY)


def take_signals(system: System, thread: Thread, target: Notification) -> None:
    system.complete_unchanged(thread, target.signals)
    target.signals = 0
    target.active = False
    _lend(system, thread, target)


def _lend(system: System, thread: Thread, target: Notification) -> None:
    if target.context is not None and thread.context is None and system.contexts[target.context].thread is None:
        system.lend(target.context, thread)


def give_back(system: System, thread: Thread, target: Notification) -> None:
    if target.context is not None and target.context == thread.context:
        system.unbind_thread(target.context)
