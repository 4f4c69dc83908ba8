"""A TCB's priorities and scheduling context.

A priority is given by the authority of a TCB: at most that thread's maximum controlled priority. Source: seL4 Reference
Manual 6.1.3; SEL4 `decodeSetPriority`, `decodeSetSchedParams`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kerneld import ipc, scheduler
from kerneld.core import PREEMPTED, Call, Core, Invocation, Place, Result
from kerneld.failures import illegal_operation, invalid_capability, range_error, truncated_message
from kerneld.objects import sched_context, tcb_space
from kerneld.outbox import Tell
from kerneld.records import CapType, ProcessState, SchedContext, Slot, Tcb, TcbSlot
from libsel4py.abi import Label


def set_priority(core: Core, tcb: Tcb, priority: int) -> None:
    """Change the priority; a thread that waits moves to its new place among those that wait with it. Where it waits for
    its turn it is the first of that priority then, also if it had it before. SEL4 `setPriority`."""
    if tcb.priority != priority and tcb.process != ProcessState.NONE:
        core.outbox.tell(Tell.PRIORITY, tcb.address)
    tcb.priority = priority
    ipc.requeue(core, tcb)
    scheduler.put_anew(core, tcb, Place.FIRST)


@dataclass(frozen=True, slots=True)
class SetPriority:
    target: Tcb
    priority: int

    def perform(self, core: Core) -> Result:
        set_priority(core, self.target, self.priority)
        return ()


@dataclass(frozen=True, slots=True)
class SetMcPriority:
    target: Tcb
    mcp: int

    def perform(self, core: Core) -> Result:
        self.target.mcp = self.mcp
        return ()


@dataclass(frozen=True, slots=True)
class SetSchedParams:
    target: tcb_space.Target
    mcp: int
    priority: int
    context: SchedContext | None
    handler: tcb_space.Install

    def perform(self, core: Core) -> Result:
        if not tcb_space.install(core, self.target, self.handler):
            return PREEMPTED
        tcb = self.target.tcb
        tcb.mcp = self.mcp
        set_priority(core, tcb, self.priority)
        before = tcb.sched_context
        if self.context is None:
            if before is not None:
                sched_context.unbind_thread(core, before)
        elif before is None and self.context.tcb is None:
            sched_context.bind_thread(core, self.context, tcb)
            scheduler.choose_anew(core)
        return ()


def _ensure_authority(core: Core, slot: Slot, *priorities: int) -> None:
    """Raise unless the capability is a TCB's whose maximum controlled priority covers all of these."""
    if slot.cap_type != CapType.TCB:
        raise invalid_capability(1, "the authority for a priority is a TCB")
    most = Tcb(core.ram, slot.object).mcp
    for priority in priorities:
        if priority > most:
            raise range_error(0, most, f"priority {priority}: the authority's maximum controlled priority is {most}")


def _decode_set_priority(core: Core, call: Call, target: Tcb) -> Invocation:
    if not call.words or not call.caps:
        raise truncated_message("SetPriority takes a priority and the capability of a TCB as authority")
    _ensure_authority(core, call.caps[0], call.words[0])
    return SetPriority(target, call.words[0])


def _decode_set_mc_priority(core: Core, call: Call, target: Tcb) -> Invocation:
    if not call.words or not call.caps:
        raise truncated_message("SetMCPriority takes a priority and the capability of a TCB as authority")
    _ensure_authority(core, call.caps[0], call.words[0])
    return SetMcPriority(target, call.words[0])


def _decode_set_sched_params(core: Core, call: Call, target: Tcb) -> Invocation:
    if len(call.words) < 2 or len(call.caps) < 3:
        raise truncated_message("SetSchedParams takes two priorities and three capabilities")
    mcp, priority = call.words[:2]
    authority, context_slot, handler_slot = call.caps
    _ensure_authority(core, authority, mcp, priority)
    context: SchedContext | None = None
    match context_slot.cap_type:
        case CapType.SCHED_CONTEXT:
            context = SchedContext(core.ram, context_slot.object)
            if context.tcb is not None:
                raise illegal_operation("the scheduling context is bound already; UnbindObject frees it")
            sched_context.ensure_bindable(core, context, target)
        case CapType.NULL:
            if target == call.thread:
                raise illegal_operation("a thread cannot take away its own scheduling context; another one can")
        case _:
            raise invalid_capability(2, "this is neither a scheduling context nor the empty slot, which unbinds")
    handler = tcb_space.decode_handler(TcbSlot.FAULT_HANDLER, handler_slot, 3)
    return SetSchedParams(tcb_space.Target.of(call, target), mcp, priority, context, handler)


DECODERS: Final[dict[int, Callable[[Core, Call, Tcb], Invocation]]] = {
    Label.TCB_SET_PRIORITY: _decode_set_priority,
    Label.TCB_SET_MC_PRIORITY: _decode_set_mc_priority,
    Label.TCB_SET_SCHED_PARAMS: _decode_set_sched_params,
}
