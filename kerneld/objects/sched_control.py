"""SchedControl: the authority to say how much processor time a scheduling context is worth.

Source: seL4 Reference Manual 6.1.7; SEL4 `decodeSchedControl_ConfigureFlags`. Times in microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kerneld import budgets, refills, scheduler
from kerneld.core import Call, Core, Invocation, Place, Result
from kerneld.failures import SyscallError, illegal_operation, invalid_capability, range_error, truncated_message
from kerneld.records import CapType, SchedContext
from libsel4py.abi import MAX_PERIOD_US, MIN_BUDGET_US, Label

SPORADIC: Final = 1


@dataclass(frozen=True, slots=True)
class Configure:
    context: SchedContext
    core: int
    budget: int
    period: int
    extra_refills: int
    badge: int
    flags: int

    def perform(self, core: Core) -> Result:
        context = self.context
        budgets.charge(core, context)
        tcb = context.tcb
        in_use = context.refill_max and tcb is not None and tcb.state in scheduler.RUNNABLE
        lay_out = refills.change if in_use and context.core == self.core else refills.lay_out
        if self.budget == self.period:
            # round robin: what was used may be used again at once; two refills are all that it needs, none is to come
            lay_out = lay_out if refills.is_released(core, context) and not context.postponed else refills.lay_out
            lay_out(core, context, refills.MIN_REFILLS, self.budget, 0)
        else:
            lay_out(core, context, self.extra_refills + refills.MIN_REFILLS, self.budget, self.period)
        if tcb is not None:
            scheduler.put_anew(core, tcb, Place.WOKEN)
        context.core = self.core
        context.badge = self.badge
        context.flags = self.flags & SPORADIC
        budgets.begin(core, context)
        return ()


def decode(core: Core, call: Call) -> Invocation:
    """ConfigureFlags, the one method.

    Raises:
        SyscallError: TRUNCATED_MESSAGE; RANGE_ERROR for budget, period and extra refills; INVALID_CAPABILITY 1.
    """
    if call.label != Label.SCHED_CONTROL_CONFIGURE_FLAGS:
        raise illegal_operation(f"SchedControl has no method with label {call.label}")
    if not call.caps or len(call.words) < 5:
        raise truncated_message("ConfigureFlags takes five words and the capability of a scheduling context")
    budget, period, extra_refills, badge, flags = call.words[:5]
    for name, time in (("budget", budget), ("period", period)):
        if time > MAX_PERIOD_US:
            raise _time_error(f"the {name} of {time} us is too long")
    for name, time in (("budget", budget), ("period", period)):
        if time < MIN_BUDGET_US:
            raise _time_error(f"the {name} of {time} us is too short")
    if budget > period:
        raise range_error(MIN_BUDGET_US, period, f"the budget of {budget} us is more than its period of {period} us")
    slot = call.caps[0]
    if slot.cap_type != CapType.SCHED_CONTEXT:
        raise invalid_capability(1, "ConfigureFlags takes the capability of a scheduling context")
    context = SchedContext(core.ram, slot.object)
    most = refills.absolute_max(context.size_bits) - refills.MIN_REFILLS
    if extra_refills > most:
        raise range_error(0, most, f"a scheduling context of 2**{context.size_bits} bytes has {most} extra refills")
    return Configure(context, call.slot.word1, budget, period, extra_refills, badge, flags)


def _time_error(why: str) -> SyscallError:
    return range_error(MIN_BUDGET_US, MAX_PERIOD_US, f"{why}: {MIN_BUDGET_US} to {MAX_PERIOD_US} us are possible")
