"""The refills of a scheduling context: when how much of its budget may be used again.

A ring of (time, amount) pairs in microseconds behind the context's fields, in the order of their times. The sum of the
amounts is the budget. What is used of the first refill may be used again one period after it was begun to be used: a
sporadic server. A period of 0 means round robin: what is used may be used again at once, and the ring never changes.

Source: SEL4 `refill_new`, `refill_update`, `refill_unblock_check`, `refill_budget_check`; Stanovich et al., Defects of
the POSIX Sporadic Server and How to Correct Them, RTAS 2010. There the kernel sees each begin and end of a thread's
turn. Here the host shares out the processors and tells how much was used and how long it let the thread wait, not when:
all is taken to have been at the latest possible, up to now without a break. So time that was slept away is not saved
up, and a thread that waits for a busy processor loses nothing of its budget by that.
"""

from __future__ import annotations

from typing import Final

from kerneld.core import Core
from kerneld.records import SchedContext
from libsel4py import abi

MIN_REFILLS: Final = 2
# More than so many refills are not kept apart, however large the object: a transaction may have to look at all.
MOST_IN_USE: Final = 64


def absolute_max(size_bits: int) -> int:
    """Refills that a scheduling context of 2**size_bits bytes has room for."""
    room = ((1 << size_bits) - abi.SCHED_CONTEXT_CORE_BYTES) // abi.REFILL_BYTES
    return min(room, 1 << 24) + MIN_REFILLS


def refill(context: SchedContext, index: int) -> tuple[int, int]:
    """(time, amount) of the ring's entry ``index``, in microseconds."""
    time, amount = context.ram.words(context.address + SchedContext.REFILLS + index * abi.REFILL_BYTES, 2)
    return time, amount


def head(context: SchedContext) -> tuple[int, int]:
    """(time, amount) of the first refill."""
    return refill(context, context.refill_head)


def capacity(context: SchedContext) -> int:
    """How many entries the ring has."""
    return min(context.refill_max, MOST_IN_USE)


def is_released(core: Core, context: SchedContext) -> bool:
    """Whether its budget can be used now: it is configured, and the time of its first refill has come."""
    return context.refill_max != 0 and head(context)[0] <= core.now()


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
    time, amount = head(context)
    time = max(time, core.now())
    context.refill_head = 0
    context.refill_count = 1
    context.refill_max = maximum
    context.period = period
    context.budget = budget
    if amount >= budget:
        _write(context, 0, time, budget)
        if not period:
            _add(context, time, 0)
    else:
        _write(context, 0, time, amount)
        _add(context, time + period, budget - amount)


def join_ready(context: SchedContext, begin: int) -> None:
    """What could have been used before ``begin`` and was not may be used from then on; refills that then touch are one.

    Without this, time that was saved up could be used on top of what comes next.
    """
    time, amount = head(context)
    if time >= begin:
        return
    while context.refill_count > 1:
        following, more = _second(context)
        if following > begin + amount:
            break
        _drop_head(context)
        amount += more
    _write(context, context.refill_head, begin, amount)


def use(context: SchedContext, used: int) -> bool:
    """So many microseconds were used: each part may be used again one period after it could be used first.

    What was used beyond the first refill is taken from those behind it, so nothing is given away by looking late.

    Returns:
        Whether the first refill is used up: less than the least budget was left of it.
    """
    is_used_up = False
    if used >= context.budget:
        # all of it, some times over: each refill comes so many periods later
        rounds, used = divmod(used, context.budget)
        _shift(context, rounds * context.period)
        is_used_up = True
    time, amount = head(context)
    while amount <= used:
        used -= amount
        _reschedule_head(context, time + context.period, amount)
        is_used_up = True
        time, amount = head(context)
    if used:
        _write(context, context.refill_head, time + used, amount - used)
        _schedule(context, time + context.period, used)
    while head(context)[1] < abi.MIN_BUDGET_US and context.refill_count > 1:
        _merge_small_head(context)
        is_used_up = True
    return is_used_up


def _reschedule_head(context: SchedContext, time: int, amount: int) -> None:
    if context.refill_count == 1:
        _write(context, context.refill_head, time, amount)
    else:
        _drop_head(context)
        _schedule(context, time, amount)


def _merge_small_head(context: SchedContext) -> None:
    """What is too little to run on joins the next refill, which begins earlier by that: it ends when it ended."""
    _, amount = head(context)
    _drop_head(context)
    time, more = head(context)
    _write(context, context.refill_head, time - amount, amount + more)


def _schedule(context: SchedContext, time: int, amount: int) -> None:
    """Put a refill behind the last one, or join it where they touch, or where the ring is full: then at its time."""
    tail = (context.refill_head + context.refill_count - 1) % capacity(context)
    last, last_amount = refill(context, tail)
    if time <= last + last_amount:
        _write(context, tail, last, last_amount + amount)
    elif context.refill_count == capacity(context):
        _write(context, tail, time - last_amount, last_amount + amount)
    else:
        _add(context, time, amount)


def _shift(context: SchedContext, by: int) -> None:
    for number in range(context.refill_count):
        index = (context.refill_head + number) % capacity(context)
        time, amount = refill(context, index)
        _write(context, index, time + by, amount)


def _second(context: SchedContext) -> tuple[int, int]:
    return refill(context, (context.refill_head + 1) % capacity(context))


def _drop_head(context: SchedContext) -> None:
    context.refill_head = (context.refill_head + 1) % capacity(context)
    context.refill_count = context.refill_count - 1


def _add(context: SchedContext, time: int, amount: int) -> None:
    count = context.refill_count
    _write(context, (context.refill_head + count) % capacity(context), time, amount)
    context.refill_count = count + 1


def _write(context: SchedContext, index: int, time: int, amount: int) -> None:
    address = context.address + SchedContext.REFILLS + index * abi.REFILL_BYTES
    context.ram.set_word(address, time)
    context.ram.set_word(address + abi.WORD_BYTES, amount)
