"""Methods of TCBs, scheduling contexts and SchedControl in the specification (seL4's MCS API)."""

from __future__ import annotations

from dataclasses import dataclass

from libsel4py import abi
from libsel4py.abi import Error, Label
from tests.model import channels
from tests.model.capability import Capability, Kind
from tests.model.deletion import delete, unbind_all, unbind_notification
from tests.model.derivation import Holding, Place
from tests.model.invocations import Refused, derivable, illegal_if, truncated_unless
from tests.model.messages import CSPACE, FAULT_HANDLER
from tests.model.system import RUNNABLE, Completion, State, System, Thread
from tests.model.waiting import cancel

VSPACE, BUFFER = 1, 2


@dataclass(frozen=True, slots=True)
class Arguments:
    """Words and extra capabilities of an invocation; ``sources`` are the latter's slots."""

    label: int
    words: tuple[int, ...]
    sources: list[Place]

    def expect(self, words: int, caps: int) -> None:
        truncated_unless(len(self.words) >= words and len(self.sources) >= caps)


def tcb(system: System, caller: Thread, target: Thread, sent: Arguments) -> None:
    caps = [system.held(place) for place in sent.sources]
    match sent.label:
        case Label.TCB_SUSPEND:
            if target is caller:
                system.complete(caller, Completion())
            cancel(system, target)
            system.set_state(target, State.INACTIVE)
        case Label.TCB_RESUME:
            if target.state not in RUNNABLE:
                cancel(system, target)
                system.set_state(target, State.RESTART)
        case Label.TCB_BIND_NOTIFICATION:
            _bind_notification(system, target, sent, caps)
        case Label.TCB_UNBIND_NOTIFICATION:
            illegal_if(target.bound is None)
            channels.part(system, target)
            unbind_notification(system, target)
        case Label.TCB_SET_PRIORITY:
            sent.expect(1, 1)
            _check_authority(system, caps[0], sent.words[0])
            _set_priority(system, target, sent.words[0])
        case Label.TCB_SET_MC_PRIORITY:
            sent.expect(1, 1)
            _check_authority(system, caps[0], sent.words[0])
            target.mcp = sent.words[0]
        case Label.TCB_SET_SCHED_PARAMS:
            _set_sched_params(system, caller, target, sent, caps)
        case Label.TCB_CONFIGURE:
            _configure(system, target, sent)
        case _:
            raise Refused(Error.ILLEGAL_OPERATION)


def _bind_notification(system: System, target: Thread, sent: Arguments, caps: list[Capability | None]) -> None:
    sent.expect(0, 1)
    held = caps[0]
    illegal_if(target.bound is not None or held is None or held.kind is not Kind.NOTIFICATION or not held.readable)
    assert held is not None
    notification = system.notifications[held.address]
    illegal_if(notification.bound is not None or bool(notification.queue))
    illegal_if(notification.listeners not in ([], [target.address]))
    if not notification.listeners:
        channels.sever_all(system, notification.channels)
    notification.bound = target.address
    target.bound = held.address


def _check_authority(system: System, authority: Capability | None, *priorities: int) -> None:
    if authority is None or authority.kind is not Kind.TCB:
        raise Refused(Error.INVALID_CAPABILITY, 1)
    most = system.threads[authority.address].mcp
    if any(priority > most for priority in priorities):
        raise Refused(Error.RANGE_ERROR, 0, most)


def _set_priority(system: System, target: Thread, priority: int) -> None:
    target.priority = priority
    where = target.waits_in
    if where is not None:
        system.dequeue(target)
        system.enqueue(where, target)


def _set_sched_params(
    system: System, caller: Thread, target: Thread, sent: Arguments, caps: list[Capability | None]
) -> None:
    sent.expect(2, 3)
    authority, context, handler = caps[:3]
    _check_authority(system, authority, *sent.words[:2])
    if context is None:
        illegal_if(target is caller)
    elif context.kind is Kind.SCHED_CONTEXT:
        illegal_if(system.contexts[context.address].thread is not None)
        _check_bindable(system, context, target)
    else:
        raise Refused(Error.INVALID_CAPABILITY, 2)
    if handler is not None and not handler.handles_faults:
        raise Refused(Error.INVALID_CAPABILITY, 3)
    _install(system, target, FAULT_HANDLER, sent.sources[2], handler)
    target.mcp = sent.words[0]
    _set_priority(system, target, sent.words[1])
    if context is not None:
        _bind(system, context.address, target)
    elif target.context is not None:
        system.unbind_thread(target.context)


def _install(system: System, target: Thread, index: int, source: Place, capability: Capability | None) -> None:
    """Replace a capability inside a TCB, if what it is made from is still there afterwards."""
    place = Place(target.address, index)
    delete(system, place)
    holding = system.tree.at(source)
    if holding is not None and capability is not None and holding.capability.names_object_of(capability):
        system.tree.copy(holding, place, capability)


def _configure(system: System, target: Thread, sent: Arguments) -> None:
    """Of a new thread: its first capability space, address space and trap frame, without guard data of their own."""
    sent.expect(3, 3)
    installs = []
    for index, place, data in zip((CSPACE, VSPACE, BUFFER), sent.sources, (sent.words[0], 0, 0), strict=True):
        holding = _required(system, place)
        changed = holding.capability.with_data(data, moving=False) if data else holding.capability
        installs.append((index, place, derivable(system, holding, changed)))
    kinds = [capability.kind for _, _, capability in installs]
    illegal_if(kinds != [Kind.CNODE, Kind.VSPACE, Kind.FRAME])
    for index, place, capability in installs:
        _install(system, target, index, place, capability)


def _required(system: System, place: Place) -> Holding:
    holding = system.tree.at(place)
    if holding is None:
        raise Refused(Error.ILLEGAL_OPERATION)
    return holding


# --- scheduling contexts


def _check_bindable(system: System, context: Capability, target: Thread) -> None:
    blocked = target.state not in (*RUNNABLE, State.INACTIVE)
    illegal_if(target.context is not None or (blocked and not system.contexts[context.address].has_time))


def _bind(system: System, address: int, target: Thread) -> None:
    system.contexts[address].thread = target.address
    target.context = address
    system.touched[target.address] = None


def sched_context(system: System, caller: Thread, address: int, sent: Arguments) -> tuple[int, ...]:
    context = system.contexts[address]
    match sent.label:
        case Label.SCHED_CONTEXT_CONSUMED:
            return (0,)
        case Label.SCHED_CONTEXT_YIELD_TO:
            illegal_if(context.thread is None or context.thread == caller.address)
            assert context.thread is not None
            illegal_if(system.threads[context.thread].priority > caller.mcp)
            return (0,)
        case Label.SCHED_CONTEXT_UNBIND:
            illegal_if(context.thread == caller.address)
            unbind_all(system, address)
        case Label.SCHED_CONTEXT_BIND:
            sent.expect(0, 1)
            _bind_object(system, address, system.held(sent.sources[0]))
        case Label.SCHED_CONTEXT_UNBIND_OBJECT:
            sent.expect(0, 1)
            _unbind_object(system, caller, address, system.held(sent.sources[0]))
        case _:
            raise Refused(Error.ILLEGAL_OPERATION)
    return ()


def _bind_object(system: System, address: int, held: Capability | None) -> None:
    if held is not None and held.kind is Kind.TCB:
        target = system.threads[held.address]
        illegal_if(system.contexts[address].thread is not None)
        _check_bindable(system, Capability(Kind.SCHED_CONTEXT, address), target)
        _bind(system, address, target)
    elif held is not None and held.kind is Kind.NOTIFICATION:
        notification = system.notifications[held.address]
        illegal_if(system.contexts[address].notification is not None or notification.context is not None)
        notification.context = address
        system.contexts[address].notification = held.address
    else:
        raise Refused(Error.INVALID_CAPABILITY, 1)


def _unbind_object(system: System, caller: Thread, address: int, held: Capability | None) -> None:
    context = system.contexts[address]
    if held is not None and held.kind is Kind.TCB:
        illegal_if(context.thread != held.address or held.address == caller.address)
        system.unbind_thread(address)
    elif held is not None and held.kind is Kind.NOTIFICATION:
        illegal_if(context.notification != held.address)
        system.unbind_notification(address)
    else:
        raise Refused(Error.INVALID_CAPABILITY, 1)


def sched_control(system: System, sent: Arguments) -> None:
    illegal_if(sent.label != Label.SCHED_CONTROL_CONFIGURE_FLAGS)
    sent.expect(5, 1)
    budget, period, extra_refills = sent.words[:3]
    for time in (budget, period):
        if time > abi.MAX_PERIOD_US:
            raise Refused(Error.RANGE_ERROR, abi.MIN_BUDGET_US, abi.MAX_PERIOD_US)
    for time in (budget, period):
        if time < abi.MIN_BUDGET_US:
            raise Refused(Error.RANGE_ERROR, abi.MIN_BUDGET_US, abi.MAX_PERIOD_US)
    if budget > period:
        raise Refused(Error.RANGE_ERROR, abi.MIN_BUDGET_US, period)
    held = system.held(sent.sources[0])
    if held is None or held.kind is not Kind.SCHED_CONTEXT:
        raise Refused(Error.INVALID_CAPABILITY, 1)
    context = system.contexts[held.address]
    most = ((1 << context.bits) - abi.SCHED_CONTEXT_CORE_BYTES) // abi.REFILL_BYTES
    if extra_refills > most:
        raise Refused(Error.RANGE_ERROR, 0, most)
    thread = None if context.thread is None else system.threads[context.thread]
    in_use = context.configured and thread is not None and thread.state in RUNNABLE
    context.postponed = context.postponed and in_use and budget != period  # what is used up of a budget stays so
    context.configured, context.held = True, budget != period
    if context.thread is not None:
        system.touched[context.thread] = None
