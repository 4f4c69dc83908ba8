"""A thread on a virtual core enters the kernel, or is looked at while it runs: time goes by, and is charged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from kerneld.core import Core
from kerneld.cores import domains, ready, slices, virtual_time
from kerneld.cores.record import VirtualCore, all_cores, core_of, place_of
from kerneld.cores.trace import Event
from kerneld.records import SchedContext, Tcb
from libsel4py.abi import Syscall

_NAMES: Final = {int(each): each.name for each in Syscall}
Charge = Callable[[Core, SchedContext], None]


def enter(core: Core, tcb: Tcb, charge: Charge) -> None:
    """The thread makes a system call, which is saved in its TCB.

    Args:
        charge: charges a scheduling context what its thread has used since that was done last.
    """
    if virtual_time.is_virtual(core.kernel):
        virtual_time.pass_step(core, tcb)
    context = tcb.sched_context
    if context is not None:
        charge(core, context)
    core.trace.add(Event(core.now(), core_of(place_of(tcb)), tcb.name, _name(tcb.op)))


def look(core: Core, charge: Charge, before: Mapping[int, int]) -> dict[int, int]:
    """Charge all that run, and let those go behind their equals that keep a core and do not use it.

    Such a thread waits for something that the kernel does not see: a lock of Python's, say, that another one has which
    is ready. A slice is processor time, and would never be over.

    Args:
        before: what the last look returned.

    Returns:
        What each thread that runs has used by now, in microseconds, by the address of its TCB.
    """
    used = {}
    for each in all_cores(core.kernel):
        current = each.current
        context = None if current is None else current.sched_context
        if current is None or context is None:
            continue
        charge(core, context)
        used[current.address] = current.consumed_us
        if before.get(current.address) == current.consumed_us and _equal_waits(core, each, current):
            slices.end(core, context)
    return used


def runs_any(core: Core) -> bool:
    """Whether any virtual core runs a thread."""
    return any(each.current is not None for each in all_cores(core.kernel))


def next_look_us(core: Core) -> int | None:
    """When to look again, by the kernel's clock: at the end of a slice or of a domain's turn that others wait for.

    None: nobody who waits would run then. A running thread's slice ends at this time at the earliest.
    """
    now, times = core.now(), []
    for each in all_cores(core.kernel):
        current = each.current
        if current is not None and _equal_waits(core, each, current):
            context = current.sched_context
            if context is not None and not context.period:
                times.append(now + slices.left_us(context))
        if any(ready.first(each, other) is not None for other in domains.others(core.kernel)):
            times.append(core.kernel.domain_until)
    return min(times, default=None)


def _equal_waits(core: Core, each: VirtualCore, current: Tcb) -> bool:
    """Whether one of the same priority is the next that this core would run."""
    first = ready.first(each, domains.current(core.kernel))
    return first is not None and first.priority == current.priority


def _name(op: int) -> str:
    number = op - (1 << 64) if op >> 63 else op
    return _NAMES.get(number, str(number))
