"""The last acts of every transaction: who is to run, and what the host is told of it."""

from __future__ import annotations

from kerneld import budgets, scheduler
from kerneld.core import Core
from kerneld.cores import schedule
from kerneld.objects import sched_context
from kerneld.records import SchedContext


def awaken(core: Core) -> None:
    """By virtual time, look at the budgets whose time has come: at those of the same time together. SEL4 `awaken`."""
    if core.take_due is not None:
        for context in core.take_due(core.now()):
            budgets.look(core, SchedContext(core.ram, context))


def settle(core: Core) -> None:
    """On virtual cores choose who runs; then tell the host what changes for the touched threads."""
    if core.kernel.cores:
        schedule.choose(core, scheduler.is_ready, sched_context.take_consumed)
    scheduler.settle(core)
