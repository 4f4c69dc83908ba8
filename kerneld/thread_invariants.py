"""What is true of threads, queues, replies and scheduling contexts between any two transactions.

Predicates as in `invariants.py`, which runs them. An object is alive while a capability names it; only live
objects are looked at, and what they name must be alive as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from kerneld.objects.call_stack import HEAD
from kerneld.predicates import Finding, Registry
from kerneld.records import (
    CapType,
    Endpoint,
    EndpointState,
    KernelRecord,
    Notification,
    NotificationState,
    ProcessState,
    Reply,
    SchedContext,
    Slot,
    Tcb,
    TcbSlot,
    ThreadState,
    VSpace,
)
from kerneld.survey import Survey
from libsel4py import abi

PREDICATES = Registry()
predicate = PREDICATES.predicate

_QUEUED: Final = (
    ThreadState.BLOCKED_ON_SEND,
    ThreadState.BLOCKED_ON_RECEIVE,
    ThreadState.BLOCKED_ON_NOTIFICATION,
)
_WITH_REPLY: Final = (ThreadState.BLOCKED_ON_RECEIVE, ThreadState.BLOCKED_ON_REPLY)
_BLOCKED_IN: Final[dict[int, ThreadState]] = {
    EndpointState.SEND: ThreadState.BLOCKED_ON_SEND,
    EndpointState.RECEIVE: ThreadState.BLOCKED_ON_RECEIVE,
}
_IN_TCB: Final[dict[TcbSlot, CapType]] = {
    TcbSlot.VSPACE: CapType.VSPACE,
    TcbSlot.BUFFER: CapType.FRAME,
    TcbSlot.FAULT_HANDLER: CapType.ENDPOINT,
    TcbSlot.TIMEOUT_HANDLER: CapType.ENDPOINT,
}

_Object = TypeVar("_Object", Endpoint, Notification, Reply, SchedContext, Tcb, VSpace)


def _alive(found: Survey, kind: CapType, make: Callable[..., _Object]) -> Iterator[_Object]:
    for address in found.of_type(kind):
        yield make(found.ram, address)


def _threads(found: Survey) -> Iterator[Tcb]:
    return _alive(found, CapType.TCB, Tcb)


def name(thread: Tcb) -> str:
    """A thread for people."""
    text = thread.name
    return f"thread {text} (0x{thread.address:x})" if text else f"thread 0x{thread.address:x}"


@predicate("thread-state", "A thread's state, and what the host was told of it, are values that exist.")
def _thread_state(found: Survey) -> Finding:
    for thread in _threads(found):
        if thread.state > ThreadState.BLOCKED_ON_NOTIFICATION or thread.process > ProcessState.STOPPED:
            yield f"{name(thread)} has state {thread.state} and process state {thread.process}"
        if max(thread.priority, thread.mcp) >= abi.PRIORITIES:
            yield f"{name(thread)} has priority {thread.priority} and maximum {thread.mcp}"


@predicate("thread-slots", "The capabilities inside a TCB are of the kinds that the thread uses them as.")
def _thread_slots(found: Survey) -> Finding:
    for thread in _threads(found):
        if thread.slot(TcbSlot.CSPACE).cap_type not in (CapType.NULL, CapType.CNODE, CapType.ZOMBIE):
            yield f"{name(thread)} has no CNode as its capability space"
        for index, kind in _IN_TCB.items():
            if thread.slot(index).cap_type not in (CapType.NULL, kind):
                yield f"{name(thread)} has a capability of type {thread.slot(index).cap_type} as its {index.name}"


@predicate("waits-somewhere", "A waiting thread says where it waits, and is found there; others are in no queue.")
def _waits_somewhere(found: Survey) -> Finding:
    queued = {thread.address for queue in _queues(found) for thread in _members(queue, len(found.of_type(CapType.TCB)))}
    for thread in _threads(found):
        if thread.state in _QUEUED:
            if thread.address not in queued:
                yield f"{name(thread)} waits on 0x{thread.blocked_on:x} and is not in its queue"
        elif thread.blocked_on or any(link is not None for link in _links(thread)):
            yield f"{name(thread)} does not wait and is linked to a queue"


def _links(thread: Tcb) -> tuple[Tcb | None, ...]:
    return thread.queue_prev, thread.queue_next, thread.run_last, thread.run_first


def _queues(found: Survey) -> Iterator[Endpoint | Notification]:
    yield from _alive(found, CapType.ENDPOINT, Endpoint)
    yield from _alive(found, CapType.NOTIFICATION, Notification)


def _members(queue: Endpoint | Notification, limit: int) -> Iterator[Tcb]:
    """The queue's threads from the head; at most one more than there are threads."""
    at = queue.head
    while at is not None and limit >= 0:
        limit -= 1
        yield at
        at = at.queue_next


@predicate(
    "runs", "Of several threads of one priority in a queue, the first and the last name each other, nobody else."
)
def _runs(found: Survey) -> Finding:
    threads = found.of_type(CapType.TCB)
    for queue in _queues(found):
        waiting = itertools.takewhile(lambda thread: thread.address in threads, _members(queue, len(threads)))
        for _, run in itertools.groupby(waiting, lambda thread: thread.priority):
            members = list(run)
            alone = len(members) == 1
            for thread in members:
                last = members[-1] if thread == members[0] and not alone else None
                first = members[0] if thread == members[-1] and not alone else None
                if (thread.run_last, thread.run_first) != (last, first):
                    yield f"{name(thread)} is one of {len(members)} of a priority in a queue, and names other ends"


@predicate("queues", "A queue's links agree in both directions, its threads wait on it, higher priorities first.")
def _queue_links(found: Survey) -> Finding:
    threads = found.of_type(CapType.TCB)
    for queue in _queues(found):
        before: Tcb | None = None
        for thread in _members(queue, len(threads)):
            if thread.address not in threads:
                yield f"0x{thread.address:x} waits on 0x{queue.address:x} and is no thread"
                break
            if thread.queue_prev != before or thread.blocked_on != queue.address:
                yield f"{name(thread)} is in the queue of 0x{queue.address:x} and does not say so"
                break
            if before is not None and before.priority < thread.priority:
                yield f"{name(thread)} waits behind {name(before)} of lower priority"
            before = thread
        if queue.tail != before:
            yield f"the queue of 0x{queue.address:x} does not end with its tail"


@predicate("endpoint-state", "An endpoint is idle while nobody waits; otherwise all who wait do what its state says.")
def _endpoint_state(found: Survey) -> Finding:
    for endpoint in _alive(found, CapType.ENDPOINT, Endpoint):
        if (endpoint.state == EndpointState.IDLE) != (endpoint.head is None) or endpoint.state > EndpointState.RECEIVE:
            yield f"endpoint 0x{endpoint.address:x} is in state {endpoint.state}"
        for thread in _members(endpoint, len(found.of_type(CapType.TCB))):
            if thread.state != _BLOCKED_IN.get(endpoint.state):
                yield f"{name(thread)} in state {thread.state} waits on an endpoint in state {endpoint.state}"


@predicate("notification-state", "A notification waits while threads do; it holds signals only when it is active.")
def _notification_state(found: Survey) -> Finding:
    for notification in _alive(found, CapType.NOTIFICATION, Notification):
        state = notification.state
        if (state == NotificationState.WAITING) != (notification.head is not None) or state > NotificationState.ACTIVE:
            yield f"notification 0x{notification.address:x} is in state {state}"
        if notification.signals and state != NotificationState.ACTIVE:
            yield f"notification 0x{notification.address:x} holds signals in state {state}"
        for thread in _members(notification, len(found.of_type(CapType.TCB))):
            if thread.state != ThreadState.BLOCKED_ON_NOTIFICATION:
                yield f"{name(thread)} in state {thread.state} waits on a notification"


@predicate("bindings", "Threads, notifications and scheduling contexts that are bound name each other.")
def _bindings(found: Survey) -> Finding:
    for thread in _threads(found):
        bound, context, yielded = thread.bound_notification, thread.sched_context, thread.yield_to
        if bound is not None and (
            bound.address not in found.of_type(CapType.NOTIFICATION) or bound.bound_tcb != thread
        ):
            yield f"{name(thread)} is bound to notification 0x{bound.address:x}, which does not say so"
        if context is not None and not _names(found, context, context.tcb, thread):
            yield f"{name(thread)} runs on 0x{context.address:x}, which does not say so"
        if yielded is not None and not _names(found, yielded, yielded.yield_from, thread):
            yield f"{name(thread)} yields to 0x{yielded.address:x}, which does not say so"
    for notification in _alive(found, CapType.NOTIFICATION, Notification):
        tcb, context = notification.bound_tcb, notification.sched_context
        if tcb is not None and (
            tcb.address not in found.of_type(CapType.TCB) or tcb.bound_notification != notification
        ):
            yield f"notification 0x{notification.address:x} is bound to {name(tcb)}, which does not say so"
        if context is not None and not _names(found, context, context.notification, notification):
            yield f"notification 0x{notification.address:x} owns 0x{context.address:x}, which does not say so"


def _names(found: Survey, context: SchedContext, back: Tcb | Notification | None, expected: Tcb | Notification) -> bool:
    return context.address in found.of_type(CapType.SCHED_CONTEXT) and back == expected


@predicate("contexts", "What a scheduling context names is alive and names it.")
def _contexts(found: Survey) -> Finding:
    threads = found.of_type(CapType.TCB)
    for context in _alive(found, CapType.SCHED_CONTEXT, SchedContext):
        tcb, yielded, head, notification = context.tcb, context.yield_from, context.reply, context.notification
        at = f"scheduling context 0x{context.address:x}"
        if tcb is not None and (tcb.address not in threads or tcb.sched_context != context):
            yield f"{at} is run on by {name(tcb)}, which does not say so"
        if yielded is not None and (yielded.address not in threads or yielded.yield_to != context):
            yield f"{at} is yielded to by {name(yielded)}, which does not say so"
        if notification is not None and notification.sched_context != context:
            yield f"{at} belongs to notification 0x{notification.address:x}, which does not say so"
        if head is not None and (
            head.address not in found.of_type(CapType.REPLY) or head.next_word != context.address | HEAD
        ):
            yield f"{at} has call-stack head 0x{head.address:x}, which does not say so"


@predicate("replies", "A reply object and the thread that waits by it name each other; a call stack's links agree.")
def _replies(found: Survey) -> Finding:
    replies = found.of_type(CapType.REPLY)
    for thread in _threads(found):
        reply = thread.reply
        if reply is None:
            if thread.state == ThreadState.BLOCKED_ON_REPLY:
                yield f"{name(thread)} waits for a reply that nobody can give"
        elif thread.state not in _WITH_REPLY or reply.address not in replies or reply.tcb != thread:
            yield f"{name(thread)} in state {thread.state} has reply object 0x{reply.address:x}, which does not say so"
    for reply in _alive(found, CapType.REPLY, Reply):
        yield from _reply_links(found, reply)


def _reply_links(found: Survey, reply: Reply) -> Finding:
    replies = found.of_type(CapType.REPLY)
    at = f"reply object 0x{reply.address:x}"
    tcb, below, above = reply.tcb, reply.prev, reply.next_word
    if tcb is not None and (tcb.address not in found.of_type(CapType.TCB) or tcb.reply != reply):
        yield f"{at} holds {name(tcb)}, which does not say so"
    if (above or below is not None) and (tcb is None or tcb.state != ThreadState.BLOCKED_ON_REPLY):
        yield f"{at} is on a call stack, and no caller waits by it"
    if below is not None and (below.address not in replies or below.next_word != reply.address):
        yield f"{at} has 0x{below.address:x} below it, which does not say so"
    if above & HEAD:
        context = above ^ HEAD
        if context not in found.of_type(CapType.SCHED_CONTEXT) or SchedContext(found.ram, context).reply != reply:
            yield f"{at} heads the call stack of 0x{context:x}, which does not say so"
    elif above and (above not in replies or Reply(found.ram, above).prev != reply):
        yield f"{at} has 0x{above:x} above it, which does not say so"


@predicate(
    "restarts", "Who waits for its system call to be carried out again is alive and once in a queue whose links agree."
)
def _restarts(found: Survey) -> Finding:
    kernel = KernelRecord.of(found.ram)
    threads = found.of_type(CapType.TCB)
    queued: list[Tcb] = []
    at = kernel.restart_head
    while at is not None and len(queued) <= len(threads):
        if at.address not in threads:
            yield f"0x{at.address:x} is in the restart queue and is no thread"
            return
        if at.restart_prev != (queued[-1] if queued else None):
            yield f"{name(at)} does not name who is in front of it in the restart queue"
        queued.append(at)
        at = at.restart_next
    if kernel.restart_tail != (queued[-1] if queued else None):
        yield "the restart queue does not end with its tail"
    flagged = {thread.address for thread in _threads(found) if thread.restart_queued}
    if flagged != {thread.address for thread in queued} or len(flagged) != len(queued):
        yield f"{len(queued)} threads are in the restart queue and {len(flagged)} say so"


@predicate("address-spaces", "A VSpace's list holds exactly the threads whose TCB has a capability to it that says so.")
def _address_spaces(found: Survey) -> Finding:
    threads = found.of_type(CapType.TCB)
    members: dict[int, set[int]] = {address: set() for address in found.of_type(CapType.VSPACE)}
    for thread in _threads(found):
        slot = thread.slot(TcbSlot.VSPACE)
        if slot.cap_type == CapType.VSPACE:
            members.setdefault(slot.object, set()).add(thread.address)
    for space in _alive(found, CapType.VSPACE, VSpace):
        listed: list[Tcb] = []
        at = space.threads
        while at is not None and len(listed) <= len(threads):
            if at.vspace_prev != (listed[-1] if listed else None):
                yield f"{name(at)} does not name who is in front of it in the list of VSpace 0x{space.address:x}"
            listed.append(at)
            at = at.vspace_next
        if sorted(thread.address for thread in listed) != sorted(members[space.address]):
            yield f"VSpace 0x{space.address:x} lists {len(listed)} threads and {len(members[space.address])} use it"
    yield from _space_capabilities(found)


def _space_capabilities(found: Survey) -> Finding:
    threads = found.of_type(CapType.TCB)
    for held in found.holding(CapType.VSPACE):
        owner = held.address - TcbSlot.VSPACE * Slot.SIZE
        # What a destroyed thread still holds is in no list.
        inside = owner in threads and found.owners[held.address] == owner
        if held.word1 != (owner if inside else 0):
            yield f"the VSpace capability in 0x{held.address:x} stands for thread 0x{held.word1:x}"
