"""YieldTo: the caller lets another thread run first, and is told what that has consumed when its own turn comes again.

While it waits for its turn the caller's completion is held; `Tcb.yield_to` and `SchedContext.yield_from` lead from one
to the other. SEL4 `schedContext_yieldTo`, `schedContext_completeYieldTo`.
"""

from __future__ import annotations

from collections.abc import Callable

from kerneld.core import Core
from kerneld.cores import ready
from kerneld.cores.record import QUEUED, core_of, place_of
from kerneld.records import SchedContext, Tcb

Take = Callable[[Core, SchedContext], int]


def begin(core: Core, caller: Tcb, context: SchedContext, take: Take) -> None:
    """Let the context's thread be the next of its priority: before the caller, where it has the caller's.

    Args:
        take: what a context has consumed since that was last reported.
    """
    other = context.yield_from
    if other is not None:
        complete(core, other, take)
    target = context.tcb
    if target is None or not target.ready_at & QUEUED:
        return
    ready.remove(target)
    ready.push(target)
    own = caller.sched_context
    if own is None or core_of(place_of(target)) != own.core or target.priority < caller.priority:
        return
    caller.yield_to = context
    context.yield_from = caller
    core.gives_way[caller.address] = target.address


def complete(core: Core, caller: Tcb, take: Take) -> None:
    """The caller's turn has come: the answer that it waits for says what was consumed until now."""
    context = caller.yield_to
    if context is None:
        return
    if caller.told_pending:
        caller.told_mr0 = take(core, context)
    forget(caller)


def forget(caller: Tcb) -> None:
    """The thread waits for nobody's consumption any more."""
    context = caller.yield_to
    if context is not None:
        context.yield_from = None
        caller.yield_to = None
