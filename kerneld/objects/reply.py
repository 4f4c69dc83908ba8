"""Reply objects: what a reply does, and the end of such an object. Their chain is `call_stack.py`'s.

Source: seL4 Reference Manual 4.2.3; SEL4 `doReplyTransfer`.
"""

from __future__ import annotations

from kerneld import fault_messages, ipc, message, scheduler, vm_faults
from kerneld.core import Core
from kerneld.objects import call_stack
from kerneld.records import Reply, Slot, Tcb, ThreadState
from kerneld.transfer import transfer
from libsel4py.abi import FaultLabel


def do_reply(core: Core, sender: Tcb, reply: Reply, slot: Slot) -> None:
    """Answer the call, or the fault, that waits at a reply object; where none waits, nothing happens.

    Args:
        sender: whose message is the answer. slot: the reply capability; its GRANT right lets capabilities go along.
    """
    caller = reply.tcb
    if caller is None or caller.state != ThreadState.BLOCKED_ON_REPLY:
        return
    call_stack.remove(core, reply, caller)
    context = caller.sched_context
    if context is not None and context.postponed and caller.fault_label != FaultLabel.TIMEOUT:
        core.used_up[context.address] = None  # the server has used it up: the caller's timeout handler is told
    if caller.fault_label:
        fault_messages.handle_reply(core, caller, sender.info >> 12, message.message_words(sender))
        return
    transfer(core, sender, caller, 0, bool(slot.can_grant))
    scheduler.set_state(core, caller, ThreadState.RUNNING)


def finalise(core: Core, reply: Reply) -> None:
    """The last capability is gone: whoever waits for the reply, or brought the object to a receive, stops."""
    tcb = reply.tcb
    if tcb is None:
        return
    if tcb.state == ThreadState.BLOCKED_ON_REPLY:
        vm_faults.remember(core, tcb)
        call_stack.remove(core, reply, tcb)
        vm_faults.fail_guarded(core, tcb)
    else:
        ipc.cancel(core, tcb)
