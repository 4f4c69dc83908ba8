"""Scheduling contexts: processor time as an object, who runs on it, and its methods.

A thread runs on at most one context and a context serves at most one thread. It moves along with a call (donation) and
comes back with the reply. What a thread used is charged to the context when they part, and when somebody asks.
Source: seL4 Reference Manual 6.1.6; SEL4 `schedcontext.c`. How it is held to its budget: `budgets.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from kerneld import budgets, refills, scheduler
from kerneld.core import Call, Core, Invocation, Result
from kerneld.cores import yielding
from kerneld.failures import illegal_operation, invalid_capability, truncated_message
from kerneld.records import CapType, Notification, SchedContext, Tcb, ThreadState
from libsel4py.abi import Label

BLOCKED = (
    ThreadState.BLOCKED_ON_RECEIVE,
    ThreadState.BLOCKED_ON_SEND,
    ThreadState.BLOCKED_ON_REPLY,
    ThreadState.BLOCKED_ON_NOTIFICATION,
)


# --- what other parts of the kernel do with a context


def bind_thread(core: Core, context: SchedContext, tcb: Tcb) -> None:
    """Let the thread run on the context. Neither has another one."""
    context.tcb = tcb
    tcb.sched_context = context
    tcb.consumed_us = core.processor_time(tcb.address)
    if context.period:
        budgets.begin_waiting(core, tcb)
    scheduler.touch(core, tcb)


def unbind_thread(core: Core, context: SchedContext) -> None:
    """Take the context from its thread, which does not run any more until it gets another one."""
    tcb = context.tcb
    if tcb is None:
        return
    budgets.charge(core, context)
    tcb.sched_context = None
    context.tcb = None
    scheduler.touch(core, tcb)


def donate(core: Core, context: SchedContext, to: Tcb) -> None:
    """Hand the context over to a thread that has none."""
    unbind_thread(core, context)
    bind_thread(core, context, to)


def unbind_notification(context: SchedContext) -> None:
    notification = context.notification
    if notification is not None:
        notification.sched_context = None
        context.notification = None


def unbind_all(core: Core, context: SchedContext) -> None:
    """Take the context from its thread, its notification, and the calls along which it was lent."""
    unbind_thread(core, context)
    unbind_notification(context)
    head = context.reply
    if head is not None:
        head.next_word = 0
        context.reply = None


def finalise(core: Core, context: SchedContext) -> None:
    """The last capability is gone: nobody runs on it any more."""
    waiting = context.yield_from
    if waiting is not None:
        yielding.complete(core, waiting, take_consumed)
    unbind_all(core, context)
    budgets.forget(core, context)


def take_consumed(core: Core, context: SchedContext) -> int:
    """Microseconds consumed since the last report; starts anew from 0."""
    budgets.charge(core, context)
    consumed = context.consumed
    context.consumed = 0
    return consumed


# --- methods


@dataclass(frozen=True, slots=True)
class BindThread:
    context: SchedContext
    tcb: Tcb

    def perform(self, core: Core) -> Result:
        bind_thread(core, self.context, self.tcb)
        scheduler.choose_anew(core)
        return ()


@dataclass(frozen=True, slots=True)
class BindNotification:
    context: SchedContext
    notification: Notification

    def perform(self, core: Core) -> Result:
        self.context.notification = self.notification
        self.notification.sched_context = self.context
        return ()


@dataclass(frozen=True, slots=True)
class Unbind:
    context: SchedContext

    def perform(self, core: Core) -> Result:
        unbind_all(core, self.context)
        return ()


@dataclass(frozen=True, slots=True)
class UnbindThread:
    context: SchedContext

    def perform(self, core: Core) -> Result:
        unbind_thread(core, self.context)
        return ()


@dataclass(frozen=True, slots=True)
class UnbindNotification:
    context: SchedContext

    def perform(self, core: Core) -> Result:
        unbind_notification(self.context)
        return ()


@dataclass(frozen=True, slots=True)
class YieldTo:
    """Let the context's thread run first. Where the host shares out the processors that needs no turn made for it."""

    context: SchedContext
    caller: Tcb

    def perform(self, core: Core) -> Result:
        if core.kernel.cores:
            yielding.begin(core, self.caller, self.context, take_consumed)
            if self.caller.yield_to is not None:
                return (0,)  # `yielding.complete` says what it is
        return (take_consumed(core, self.context),)


@dataclass(frozen=True, slots=True)
class Consumed:
    context: SchedContext

    def perform(self, core: Core) -> Result:
        return (take_consumed(core, self.context),)


def decode(core: Core, call: Call) -> Invocation:
    """A method of the scheduling context that ``call`` invokes.

    Raises:
        SyscallError: as seL4's `decodeSchedContextInvocation`, in its order.
    """
    context = SchedContext(core.ram, call.slot.object)
    match call.label:
        case Label.SCHED_CONTEXT_CONSUMED:
            return Consumed(context)
        case Label.SCHED_CONTEXT_BIND:
            return _decode_bind(core, call, context)
        case Label.SCHED_CONTEXT_UNBIND_OBJECT:
            return _decode_unbind_object(core, call, context)
        case Label.SCHED_CONTEXT_UNBIND:
            _ensure_not_own(call, context)
            return Unbind(context)
        case Label.SCHED_CONTEXT_YIELD_TO:
            return _decode_yield_to(call, context)
        case _:
            raise illegal_operation(f"a scheduling context has no method with label {call.label}")


def _ensure_not_own(call: Call, context: SchedContext) -> None:
    if context.tcb == call.thread:
        raise illegal_operation("the caller runs on this scheduling context; another thread can unbind it")


def _decode_bind(core: Core, call: Call, context: SchedContext) -> Invocation:
    if not call.caps:
        raise truncated_message("Bind takes one capability: of a TCB or of a notification")
    slot = call.caps[0]
    match slot.cap_type:
        case CapType.TCB:
            tcb = Tcb(core.ram, slot.object)
            if context.tcb is not None:
                raise illegal_operation("the scheduling context is bound to a thread already; Unbind frees it")
            ensure_bindable(core, context, tcb)
            return BindThread(context, tcb)
        case CapType.NOTIFICATION:
            notification = Notification(core.ram, slot.object)
            if context.notification is not None:
                raise illegal_operation("the scheduling context is bound to a notification already; Unbind frees it")
            if notification.sched_context is not None:
                raise illegal_operation("the notification has a scheduling context already; UnbindObject frees it")
            return BindNotification(context, notification)
        case _:
            raise invalid_capability(1, "a scheduling context is bound to a TCB or to a notification")


def ensure_bindable(core: Core, context: SchedContext, tcb: Tcb) -> None:
    """Raise ILLEGAL_OPERATION if the thread has a context, or is blocked and this one has no budget to go on with."""
    if tcb.sched_context is not None:
        raise illegal_operation("the thread has a scheduling context already; UnbindObject frees it")
    if tcb.state in BLOCKED and not refills.is_released(core, context):
        raise illegal_operation("the thread is blocked, and the scheduling context has no budget: configure it first")


def _decode_unbind_object(core: Core, call: Call, context: SchedContext) -> Invocation:
    if not call.caps:
        raise truncated_message("UnbindObject takes one capability: of a TCB or of a notification")
    slot = call.caps[0]
    match slot.cap_type:
        case CapType.TCB:
            if context.tcb != Tcb(core.ram, slot.object):
                raise illegal_operation("the scheduling context is not bound to that thread")
            _ensure_not_own(call, context)
            return UnbindThread(context)
        case CapType.NOTIFICATION:
            if context.notification != Notification(core.ram, slot.object):
                raise illegal_operation("the scheduling context is not bound to that notification")
            return UnbindNotification(context)
        case _:
            raise invalid_capability(1, "a scheduling context is unbound from a TCB or from a notification")


def _decode_yield_to(call: Call, context: SchedContext) -> Invocation:
    tcb = context.tcb
    if tcb is None:
        raise illegal_operation("no thread runs on this scheduling context, so there is nobody to yield to")
    if tcb == call.thread:
        raise illegal_operation("the caller runs on this scheduling context itself; Yield is the system call for that")
    if tcb.priority > call.thread.mcp:
        raise illegal_operation(
            f"the thread's priority {tcb.priority} is above the caller's maximum controlled priority {call.thread.mcp}"
        )
    return YieldTo(context, call.thread)
