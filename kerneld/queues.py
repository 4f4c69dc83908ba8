"""The threads that wait on one endpoint or notification: highest priority first, first come first served within one.

The queue's ends are in the object, its links in the threads. Whoever removes the last thread leaves the object idle.
Where several of one priority wait, the first and the last of them name each other: so a place is found by a step for
each priority, however many threads somebody has made that wait.
Thread states are the caller's business.
"""

from __future__ import annotations

from kerneld.failures import KernelBug
from kerneld.records import Endpoint, EndpointState, Notification, Tcb

Queue = Endpoint | Notification
IDLE = EndpointState.IDLE  # of both


def append(queue: Queue, tcb: Tcb) -> None:
    """Put a thread behind all others of its priority or a higher one."""
    before = queue.tail
    tcb.blocked_on = queue.address
    if before is None:
        queue.head = tcb
        queue.tail = tcb
        return
    priority = tcb.priority
    behind: Tcb | None = None
    while before is not None and before.priority < priority:
        behind = before.run_first or before
        before = behind.queue_prev
    if before is not None and before.priority == priority:
        _join_run(before, tcb)
    tcb.queue_prev = before
    tcb.queue_next = behind
    if before is None:
        queue.head = tcb
    else:
        before.queue_next = tcb
    if behind is None:
        queue.tail = tcb
    else:
        behind.queue_prev = tcb


def take_first(queue: Queue) -> Tcb:
    """Remove the thread whose turn it is. The queue is not empty."""
    first = queue.head
    if first is None:
        raise KernelBug(f"the object at 0x{queue.address:x} says that threads wait, and its queue is empty")
    remove(queue, first)
    return first


def remove(queue: Queue, tcb: Tcb) -> None:
    """Take a thread out; an object on which nobody waits any more becomes idle."""
    before = tcb.queue_prev
    behind = tcb.queue_next
    tcb.blocked_on = 0
    if before is None and behind is None:
        queue.head = None
        queue.tail = None
        queue.state = IDLE
        return
    _leave_run(tcb, before, behind)
    if before is None:
        queue.head = behind
    else:
        before.queue_next = behind
        tcb.queue_prev = None
    if behind is None:
        queue.tail = before
    else:
        behind.queue_prev = before
        tcb.queue_next = None


def _join_run(last: Tcb, tcb: Tcb) -> None:
    """The thread is to wait behind the last one of its priority."""
    first = last.run_first
    if first is None:
        first = last
    else:
        last.run_first = None
    first.run_last = tcb
    tcb.run_first = first


def _leave_run(tcb: Tcb, before: Tcb | None, behind: Tcb | None) -> None:
    """The thread is about to leave its place between these two. Its priority may be another one by now."""
    last, first = tcb.run_last, tcb.run_first
    if last is not None:
        tcb.run_last = None
        if behind is None or behind == last:
            last.run_first = None
        else:
            behind.run_last = last
            last.run_first = behind
    elif first is not None:
        tcb.run_first = None
        if before is None or before == first:
            first.run_last = None
        else:
            before.run_first = first
            first.run_last = before


def reorder(queue: Queue, tcb: Tcb) -> None:
    """Put a waiting thread to the place that its new priority gives it: behind all others of that priority."""
    state = queue.state
    remove(queue, tcb)
    append(queue, tcb)
    queue.state = state
