"""Round robin: a thread whose scheduling context has used up its budget goes behind the others of its priority.

For contexts whose budget is their period. Such a one has two refills, of which the first holds what is left of the
slice and the second what was used of it. Others are `budgets`' business. SEL4 `chargeBudget`, `endTimeslice`.
"""

from __future__ import annotations

from kerneld.core import Core
from kerneld.records import SchedContext
from libsel4py import abi


def use(core: Core, context: SchedContext, used: int) -> None:
    """So many microseconds of a round-robin context's slice were used."""
    if not context.refill_max or not core.kernel.cores:
        return
    left = left_us(context)
    if used < left:
        _lay_out(context, left - used)
    else:
        end(core, context)


def end(core: Core, context: SchedContext) -> None:
    """The slice is over, or a refill of another kind of context: who runs on it goes behind the others of its priority.

    The next slice is a whole one. Nothing happens where the host shares out the processors.
    """
    if not core.kernel.cores:
        return
    if not context.period and context.refill_max:
        _lay_out(context, context.budget)
    core.turn_over[context.address] = None


def left_us(context: SchedContext) -> int:
    """Microseconds that are left of a round-robin context's slice."""
    return context.ram.word(_first(context) + abi.WORD_BYTES)


def _first(context: SchedContext) -> int:
    return context.address + SchedContext.REFILLS + context.refill_head * abi.REFILL_BYTES


def _lay_out(context: SchedContext, left: int) -> None:
    ram, first = context.ram, _first(context)
    second = context.address + SchedContext.REFILLS + (1 - context.refill_head) * abi.REFILL_BYTES
    ram.set_word(first + abi.WORD_BYTES, left)
    ram.set_word(second + abi.WORD_BYTES, context.budget - left)
