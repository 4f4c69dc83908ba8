"""The chain of reply objects: who waits for whose reply, and along which calls a scheduling context was lent.

A reply object serves one call at a time. When the call lent its caller's scheduling context, the object is pushed
on that context's call stack: `prev` leads towards the first caller, `next_word` towards the head, whose `next_word`
is the context's address with bit 0 set. Taking off the head gives the context back; taking an object out of the
middle breaks the chain there, as SEL4's `reply_remove` does (SEL4_API 2.12, item 1). A reply object outside of any
stack has neither link.
"""

from __future__ import annotations

from typing import Final

from kerneld import scheduler
from kerneld.core import Core
from kerneld.objects import sched_context
from kerneld.records import Reply, SchedContext, Tcb, ThreadState

HEAD: Final = 1


def push(core: Core, caller: Tcb, callee: Tcb, reply: Reply, can_donate: bool) -> None:
    """Let the caller wait for a reply by ``reply``, and lend its scheduling context to a callee that has none."""
    reply.tcb = caller
    caller.reply = reply
    scheduler.set_state(core, caller, ThreadState.BLOCKED_ON_REPLY)
    if not can_donate or callee.sched_context is not None:
        return
    context = caller.sched_context
    if context is None:
        return
    below = context.reply
    if below is not None:
        below.next_word = reply.address
    reply.prev = below
    reply.next_word = context.address | HEAD
    context.reply = reply
    sched_context.donate(core, context, callee)


def remove(core: Core, reply: Reply, caller: Tcb) -> None:
    """End the caller's wait; the head of a stack gives the context back, unless the caller has got another one."""
    above = reply.next_word
    if above & HEAD:
        context = SchedContext(core.ram, above ^ HEAD)
        below = reply.prev
        context.reply = below
        if below is not None:
            below.next_word = above
            reply.prev = None
        reply.next_word = 0
        if caller.sched_context is None:
            sched_context.donate(core, context, caller)
    else:
        _break_links(reply, above)
    unlink(core, reply, caller)


def remove_thread(core: Core, caller: Tcb) -> None:
    """End the wait of a caller that is cancelled: a context that it has lent stays where it is."""
    reply = caller.reply
    if reply is None:
        return
    above = reply.next_word
    if above & HEAD:
        SchedContext(core.ram, above ^ HEAD).reply = None
        above = 0
    _break_links(reply, above)
    unlink(core, reply, caller)


def unlink(core: Core, reply: Reply, tcb: Tcb) -> None:
    """Part a thread, which stops, from its reply object."""
    reply.tcb = None
    tcb.reply = None
    scheduler.set_state(core, tcb, ThreadState.INACTIVE)


def _break_links(reply: Reply, above: int) -> None:
    if above:
        Reply(reply.ram, above).prev = None
    below = reply.prev
    if below is not None:
        below.next_word = 0
    reply.prev = None
    reply.next_word = 0
