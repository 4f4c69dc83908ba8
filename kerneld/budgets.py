"""Budgets, held: what threads use is charged to their scheduling contexts, and one that has used its budget up is
postponed: nobody runs on it before the time of its first refill. What the kernel does for them counts as well
(`service.py`).

The kernel does not see a thread run. It reads what the thread's process has used when the host's alarm says that the
budget could be used up by now (`Tell.WATCH`), when the thread enters the kernel, and when its context changes hands or
is asked about. An alarm is set when a thread begins to run on a context with a budget that is less than its period, at
the earliest time at which that could be used up; round robin has none, and costs nothing. What was used beyond the
budget before the kernel could look is taken from the refills to come (`refills.py`), so the host's delays add up to
nothing. A refill that is used up is told to the thread's timeout handler, if it has one (`timeouts.py`).

Source: SEL4 `checkBudget`, `chargeBudget`, `endTimeslice`, `postpone`, `awaken`, `handleYield`.
"""

from __future__ import annotations

from typing import Final

from kerneld import refills, scheduler
from kerneld.core import Core
from kerneld.cores import slices
from kerneld.outbox import Tell
from kerneld.records import SchedContext, Tcb

# Microseconds between two looks: less is more work for the kernel than it is worth to anybody.
SHORTEST_US: Final = 100


def charge(core: Core, context: SchedContext) -> None:
    """Charge what the context's thread has used since it was last charged, and the kernel for it, in microseconds."""
    tcb = context.tcb
    if tcb is None:
        return
    now = core.processor_time(tcb.address)
    before = tcb.consumed_us
    used = _since(before, now) + core.service.take(context.address)
    if not used:
        return
    tcb.consumed_us = now
    context.consumed = context.consumed + used
    if not context.period:
        slices.use(core, context, used)
        return
    waited_before = tcb.waited_us
    begin_waiting(core, tcb)
    refills.join_ready(context, core.now() - used - _since(waited_before, tcb.waited_us))
    if refills.use(context, used):
        core.used_up[context.address] = None
        slices.end(core, context)
        _postpone(core, context)


def begin_waiting(core: Core, tcb: Tcb) -> None:
    """How long it waits for processors counts from now on."""
    tcb.waited_us = core.waiting_time(tcb.address)


def enter(core: Core, tcb: Tcb) -> SchedContext | None:
    """The kernel works for a thread from now on. Returns the context with a budget that pays for it, if one does."""
    context = tcb.sched_context
    if context is None or not context.period:
        return None
    core.service.begin(context.address)
    return context


def can_enter(core: Core, tcb: Tcb) -> bool:
    """Charge a thread that makes a system call. Without budget it makes it when it has some again."""
    context = enter(core, tcb)
    if context is None:
        return True
    charge(core, context)
    return context.address not in core.used_up and not context.postponed


def give_up(core: Core, tcb: Tcb) -> None:
    """Yield: the rest of the first refill goes unused. It does not count as consumed, and is no timeout."""
    context = tcb.sched_context
    if context is None or not context.period:
        return
    before = context.consumed
    charge(core, context)
    if context.postponed:
        return
    if context.consumed == before:
        refills.join_ready(context, core.now())
    refills.use(context, refills.head(context)[1])
    _postpone(core, context)


def begin(core: Core, context: SchedContext) -> None:
    """The context has other parameters."""
    core.used_up.pop(context.address, None)
    context.postponed = 0
    if context.watched:
        scheduler.watch(core, context)
    _postpone(core, context)
    tcb = context.tcb
    if tcb is not None:
        begin_waiting(core, tcb)
        scheduler.touch(core, tcb)


def look(core: Core, context: SchedContext) -> None:
    """The alarm went off: somebody may have used the budget up, or there is some again."""
    context.watched = 0
    charge(core, context)
    if context.postponed and not context.watched:
        if refills.is_released(core, context):
            context.postponed = 0
            refills.join_ready(context, core.now())
        else:
            scheduler.watch(core, context)
    tcb = context.tcb
    if tcb is not None:
        scheduler.touch(core, tcb)


def has_slept(core: Core, context: SchedContext) -> bool:
    """Whether the context's thread may run, and has not since it was charged: it sleeps where the kernel does not see
    it. One that waits in the kernel does not count: who lets it go on asks for an alarm."""
    tcb = context.tcb
    return (
        tcb is not None
        and not tcb.in_trap
        and scheduler.may_run(tcb)
        and core.processor_time(tcb.address) == tcb.consumed_us
    )


def begin_anew(core: Core, context: SchedContext) -> None:
    """The machine goes on by another clock, and nobody runs on the context: it has its whole budget from now on."""
    context.postponed = context.watched = 0
    refills.lay_out(core, context, context.refill_max, context.budget, context.period)


def forget(core: Core, context: SchedContext) -> None:
    """The object is gone."""
    context.refill_max = 0
    context.postponed = 0
    core.service.forget(context.address)
    core.used_up.pop(context.address, None)
    if context.watched:
        context.watched = 0
        core.outbox.tell(Tell.UNWATCH, context.address)


def due_us(core: Core, context: SchedContext) -> int:
    """When to look at a context that is watched: at its first refill's time, or when that could be used up."""
    time, amount = refills.head(context)
    return time if context.postponed else core.now() + max(amount, SHORTEST_US)


def _since(before: int, now: int) -> int:
    """What a clock has advanced by; that of a new process begins at 0."""
    return now - before if now >= before else now


def _postpone(core: Core, context: SchedContext) -> None:
    """Let nobody run on it before its first refill's time, if that has not come."""
    if refills.is_released(core, context):
        return
    context.postponed = 1
    scheduler.watch(core, context)
    tcb = context.tcb
    if tcb is not None:
        scheduler.touch(core, tcb)
