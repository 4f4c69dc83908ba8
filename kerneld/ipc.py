"""Sending on an endpoint, and taking a thread out of whatever it waits for.

Source: seL4 Reference Manual 4.2; SEL4 `sendIPC`, `cancelIPC`, `restart`. The receiving half is `objects/endpoint.py`;
what is in a message and how it moves is `transfer.py`.
"""

from __future__ import annotations

from kerneld import listening, queues, scheduler, vm_faults
from kerneld.core import Core
from kerneld.objects import call_stack, sched_context
from kerneld.records import Endpoint, EndpointState, Notification, Reply, Tcb, ThreadState
from kerneld.transfer import transfer
from libsel4py.abi import FaultLabel


def send(
    core: Core,
    tcb: Tcb,
    endpoint: Endpoint,
    *,
    badge: int,
    can_grant: bool,
    can_grant_reply: bool,
    blocking: bool,
    is_call: bool,
    can_donate: bool,
) -> None:
    """Send the thread's message, or the message about its fault, which is always a call.

    With a receiver at hand it is delivered, and the receiver goes on. A caller then waits for the reply; it stops
    for good if nobody could reply (no Grant or GrantReply right, or a receiver without a reply object). With none
    the thread waits its turn, or goes on if it does not block. A sender that goes on is completed by
    `syscall.handle`.
    """
    if endpoint.state != EndpointState.RECEIVE:
        if blocking:
            tcb.block_badge = badge
            tcb.block_can_grant = can_grant
            tcb.block_can_grant_reply = can_grant_reply
            tcb.block_is_call = is_call
            queues.append(endpoint, tcb)
            endpoint.state = EndpointState.SEND
            scheduler.set_state(core, tcb, ThreadState.BLOCKED_ON_SEND)
            listening.hint(core, endpoint)
        return
    receiver = queues.take_first(endpoint)
    transfer(core, tcb, receiver, badge, can_grant, endpoint)
    reply = receiver.reply
    if reply is not None:
        reply.tcb = None
        receiver.reply = None
    if is_call or tcb.fault_label:
        await_reply(core, tcb, receiver, reply if can_grant or can_grant_reply else None, can_donate)
    elif can_donate and receiver.sched_context is None:
        context = tcb.sched_context
        if context is not None:
            sched_context.donate(core, context, receiver)
    scheduler.set_state(core, receiver, ThreadState.RUNNING)


def await_reply(core: Core, caller: Tcb, callee: Tcb, reply: Reply | None, can_donate: bool) -> None:
    """The callee has the call: let the caller wait for the reply, or stop it where none can come."""
    if reply is None:
        vm_faults.stop(core, caller)
    else:
        call_stack.push(core, caller, callee, reply, can_donate)


def cancel(core: Core, tcb: Tcb) -> None:
    """Take a thread out of what it waits for, and forget its fault. A waiting thread becomes INACTIVE.

    Its system call stays saved and is not completed: a resume carries it out again.
    """
    if tcb.fault_label:
        vm_faults.remember(core, tcb)
        tcb.fault_label = FaultLabel.NULL_FAULT
    match tcb.state:
        case ThreadState.BLOCKED_ON_SEND | ThreadState.BLOCKED_ON_RECEIVE:
            queues.remove(Endpoint(core.ram, tcb.blocked_on), tcb)
            reply = tcb.reply
            if reply is not None:
                call_stack.unlink(core, reply, tcb)
        case ThreadState.BLOCKED_ON_NOTIFICATION:
            queues.remove(Notification(core.ram, tcb.blocked_on), tcb)
        case ThreadState.BLOCKED_ON_REPLY:
            call_stack.remove_thread(core, tcb)
        case _:
            return
    scheduler.set_state(core, tcb, ThreadState.INACTIVE)


def restart(core: Core, tcb: Tcb) -> None:
    """Let a stopped or waiting thread go on; its unfinished system call is carried out from the start."""
    if tcb.state in scheduler.RUNNABLE:
        return
    cancel(core, tcb)
    scheduler.set_state(core, tcb, ThreadState.RESTART)


def requeue(core: Core, tcb: Tcb) -> None:
    """The thread's priority has changed: move it to its place among those that wait with it."""
    match tcb.state:
        case ThreadState.BLOCKED_ON_SEND | ThreadState.BLOCKED_ON_RECEIVE:
            queues.reorder(Endpoint(core.ram, tcb.blocked_on), tcb)
        case ThreadState.BLOCKED_ON_NOTIFICATION:
            queues.reorder(Notification(core.ram, tcb.blocked_on), tcb)
