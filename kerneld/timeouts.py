"""Timeout faults: the timeout handler of a thread is told when a refill of the context that it runs on is used up.

Told at the end of the transaction that found it out, of the thread that then runs on the context. Where there is no
handler nothing is told: the thread waits for the next refill, and goes on. The message: the context's badge, and what
it has consumed since that was last reported. It lends no processor time. Source: seL4 Reference Manual 6.1.8; SEL4
`endTimeslice`, `handleTimeout`.
"""

from __future__ import annotations

from kerneld import faults, scheduler
from kerneld.core import Core
from kerneld.failures import Fault
from kerneld.objects import sched_context
from kerneld.records import CapType, SchedContext, TcbSlot
from libsel4py.abi import FaultLabel


def raise_all(core: Core) -> None:
    """Tell of the contexts that this transaction found used up."""
    for address in tuple(core.used_up):
        _raise(core, SchedContext(core.ram, address))
    core.used_up.clear()


def _raise(core: Core, context: SchedContext) -> None:
    tcb = context.tcb
    if tcb is None or not context.period or tcb.state not in scheduler.RUNNABLE or tcb.fault_label:
        return
    handler = tcb.slot(TcbSlot.TIMEOUT_HANDLER)
    if handler.cap_type != CapType.ENDPOINT or not faults.can_handle(handler):
        return
    words = (context.badge, sched_context.take_consumed(core, context))
    sentence = f"its budget of {context.budget} us in {context.period} us was used up"
    faults.raise_fault(core, tcb, Fault(FaultLabel.TIMEOUT, words, sentence))
