"""Endpoints: receiving, and what becomes of the threads that wait when an endpoint or a badge goes away.

Source: seL4 Reference Manual 4; SEL4 `receiveIPC`, `cancelAllIPC`, `cancelBadgedSends`. Sending is `ipc.send`.
"""

from __future__ import annotations

from typing import Final

from kerneld import completion, ipc, queues, scheduler, vm_faults
from kerneld.core import Core
from kerneld.objects import call_stack, notification
from kerneld.records import Endpoint, EndpointState, NotificationState, Reply, Slot, Tcb, ThreadState
from kerneld.transfer import transfer
from libsel4py.abi import FaultLabel

CANCELLED_AT_ONCE: Final = 64  # threads; bounds the stores of one transaction


def receive(
    core: Core, tcb: Tcb, endpoint: Endpoint, slot: Slot, reply_object: Reply | None, *, blocking: bool
) -> None:
    """Take the next message, or wait for one.

    Args:
        slot: the capability that is received by. reply_object: by which a call will be answered; without one a caller
            stops for good. Whoever used it until now is cancelled.
    """
    if reply_object is not None:
        holder = reply_object.tcb
        if holder is not None:
            ipc.cancel(core, holder)
    bound = tcb.bound_notification
    if bound is not None:
        if bound.state == NotificationState.ACTIVE:
            notification.take_signals(core, tcb, bound)
            return
        if blocking:
            notification.return_context(core, bound, tcb)
    if endpoint.state == EndpointState.SEND:
        _take_message(core, tcb, endpoint, reply_object)
    elif blocking:
        if reply_object is not None:
            reply_object.tcb = tcb
            tcb.reply = reply_object
        queues.append(endpoint, tcb)
        endpoint.state = EndpointState.RECEIVE
        scheduler.set_state(core, tcb, ThreadState.BLOCKED_ON_RECEIVE)
    else:
        completion.complete_empty(core, tcb)


def _take_message(core: Core, tcb: Tcb, endpoint: Endpoint, reply_object: Reply | None) -> None:
    """Deliver from the sender whose turn it is; a plain sender goes on, a caller or faulter waits for the reply."""
    sender = queues.take_first(endpoint)
    can_grant = bool(sender.block_can_grant)
    transfer(core, sender, tcb, sender.block_badge, can_grant, endpoint)
    fault = sender.fault_label
    if sender.block_is_call or fault:
        reply = reply_object if can_grant or sender.block_can_grant_reply else None
        ipc.await_reply(core, sender, tcb, reply, fault != FaultLabel.TIMEOUT)
    else:
        completion.complete(core, sender)
        scheduler.set_state(core, sender, ThreadState.RUNNING)


def cancel_all(core: Core, endpoint: Endpoint) -> None:
    """Abort every send and receive in this transaction."""
    while not cancel_some(core, endpoint):
        pass


def cancel_some(core: Core, endpoint: Endpoint) -> bool:
    """Abort sends and receives: the threads carry out their system calls again. A faulting thread stops.

    Returns whether nobody waits any more; if not, call it again in a later transaction.
    """
    for _ in range(CANCELLED_AT_ONCE):
        tcb = endpoint.head
        if tcb is None:
            return True
        _abort(core, endpoint, tcb)
    return endpoint.head is None


def cancel_badged_sends(core: Core, endpoint: Endpoint, badge: int) -> bool:
    """Abort the sends that wait with this badge. Returns whether none is left, as `cancel_some`."""
    if endpoint.state != EndpointState.SEND:
        return True
    left = CANCELLED_AT_ONCE
    tcb = endpoint.head
    while tcb is not None:
        behind = tcb.queue_next
        if tcb.block_badge == badge:
            if not left:
                return False
            left -= 1
            _abort(core, endpoint, tcb)
        tcb = behind
    return True


def _abort(core: Core, endpoint: Endpoint, tcb: Tcb) -> None:
    queues.remove(endpoint, tcb)
    reply = tcb.reply
    if reply is not None:
        call_stack.unlink(core, reply, tcb)
    if tcb.fault_label:
        vm_faults.stop(core, tcb)
    else:
        scheduler.set_state(core, tcb, ThreadState.RESTART)
        scheduler.choose_anew(core)
