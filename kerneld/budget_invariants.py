"""What is true of scheduling contexts' budgets between any two transactions.

Predicates as in `invariants.py`, which runs them. RAM may be a damaged image: no more refills are read than the ring
can have.
"""

from __future__ import annotations

from collections.abc import Iterator

from kerneld import refills, scheduler
from kerneld.predicates import Finding, Registry
from kerneld.records import CapType, SchedContext, Tcb
from kerneld.survey import Survey

PREDICATES = Registry()
predicate = PREDICATES.predicate


def _held(found: Survey) -> Iterator[SchedContext]:
    """The contexts that are held to a budget."""
    for address in found.of_type(CapType.SCHED_CONTEXT):
        context = SchedContext(found.ram, address)
        if context.period and context.refill_max:
            yield context


@predicate("refills", "The refills of a scheduling context are its budget, in the order of their times.")
def _refills(found: Survey) -> Finding:
    for context in _held(found):
        at, most = f"scheduling context 0x{context.address:x}", refills.capacity(context)
        if not (refills.MIN_REFILLS <= context.refill_max <= refills.absolute_max(context.size_bits)):
            yield f"{at} is to have {context.refill_max} refills, and has room for fewer"
        elif not (context.refill_head < most and 1 <= context.refill_count <= most):
            yield f"{at} has {context.refill_count} refills of {most}, from {context.refill_head} on"
        else:
            ring = [refills.refill(context, (context.refill_head + n) % most) for n in range(context.refill_count)]
            if sum(amount for _, amount in ring) != context.budget:
                yield f"{at} has refills of {[amount for _, amount in ring]} us for a budget of {context.budget} us"
            if sorted(ring) != ring:
                yield f"{at} has refills whose times {[time for time, _ in ring]} are not in order"


@predicate("watched", "Who runs on a budget, or waits for a refill, is watched; round robin is never used up.")
def _watched(found: Survey) -> Finding:
    for address in found.of_type(CapType.SCHED_CONTEXT):
        context = SchedContext(found.ram, address)
        if context.postponed and not (context.watched and context.period):
            yield f"scheduling context 0x{address:x} is used up, and nobody will look at it"
    for address in found.of_type(CapType.TCB):
        tcb = Tcb(found.ram, address)
        running = tcb.sched_context
        if running is None or running.address not in found.of_type(CapType.SCHED_CONTEXT):
            continue
        if running.period and not running.watched and scheduler.may_run(tcb):
            yield f"thread 0x{address:x} runs on the budget of 0x{running.address:x}, which nobody watches"
