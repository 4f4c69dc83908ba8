"""The refills of a scheduling context: when how much of its budget may be used again (SEL4 `refill_new`).

A ring of (time, amount) pairs in microseconds behind the context's fields, `refill_max` long. The sum of the
amounts is the budget. A period of 0 means round robin: what is used may be used again at once. What running threads
use up is charged elsewhere; these functions only lay the ring out.
"""

from __future__ import annotations

from typing import Final

from kerneld.core import Core
from kerneld.records import SchedContext
from libsel4py import abi

MIN_REFILLS: Final = 2


def absolute_max(size_bits: int) -> int:
    """Refills that a scheduling context of 2**size_bits bytes has room for."""
    room = ((1 << size_bits) - abi.SCHED_CONTEXT_CORE_BYTES) // abi.REFILL_BYTES
    return min(room, 1 << 24) + MIN_REFILLS


def refill(context: SchedContext, index: int) -> tuple[int, int]:
    """(time, amount) of the ring's entry ``index``, in microseconds."""
    time, amount = context.ram.words(context.address + SchedContext.REFILLS + index * abi.REFILL_BYTES, 2)
    return time, amount


def _write(context: SchedContext, index: int, time: int, amount: int) -> None:
    address = context.address + SchedContext.REFILLS + index * abi.REFILL_BYTES
    context.ram.set_word(address, time)
    context.ram.set_word(address + abi.WORD_BYTES, amount)


def is_released(core: Core, context: SchedContext) -> bool:
    """Whether its budget can be used now: it is configured, and the time of its first refill has come."""
    return context.refill_max != 0 and refill(context, context.refill_head)[0] <= core.now()


def lay_out(core: Core, context: SchedContext, maximum: int, budget: int, period: int) -> None:
    """Start anew: the whole budget, from now."""
    context.refill_max = maximum
    context.period = period
    context.budget = budget
    context.refill_head = 0
    now = core.now()
    _write(context, 0, now, budget)
    context.refill_count = 1
    if not period:
        _add(context, now, 0)


def change(core: Core, context: SchedContext, maximum: int, budget: int, period: int) -> None:
    """New parameters for a context that is in use: never more than the new budget within the new period."""
    time, amount = refill(context, context.refill_head)
    time = max(time, core.now())
    context.refill_head = 0
    context.refill_count = 1
    context.refill_max = maximum
    context.period = period
    context.budget = budget
    if amount >= budget:
        _write(context, 0, time, budget)
    else:
        _write(context, 0, time, amount)
        _add(context, time + period, budget - amount)


def _add(context: SchedContext, time: int, amount: int) -> None:
    count = context.refill_count
    _write(context, (context.refill_head + count) % context.refill_max, time, amount)
    context.refill_count = count + 1
