"""Who runs: at the end of each transaction, for each virtual core the thread that seL4's scheduler would choose.

That is the first thread of the highest priority, in the domain whose turn it is. A thread that goes on to be the
highest keeps its core; one that is made to wait by a higher one is the first of its priority then, and one whose slice
is over the last. One that is woken becomes the first of its priority, but the last where the thread that woke it has
the same priority, wakes no other one and goes on. In one place: SEL4 `schedule`, `possibleSwitchTo`,
`rescheduleRequired`.
"""

from __future__ import annotations

from collections.abc import Callable

from kerneld.core import Core, Place
from kerneld.cores import domains, ready, yielding
from kerneld.cores.record import PLACE_MASK, QUEUED, RUNNING, VirtualCore, all_cores, core_of, place_of
from kerneld.records import SchedContext, Tcb


def choose(core: Core, is_ready: Callable[[Tcb], bool], take_consumed: yielding.Take) -> None:
    """Let those of the touched threads wait that are not chosen, and those go on that are.

    Args:
        is_ready: whether a thread is runnable and has budget.
    """
    domains.advance(core)
    woken: dict[int, list[Tcb]] = {}
    for address in tuple(core.touched):
        tcb = core.tcb(address)
        if not is_ready(tcb):
            leave(tcb)
        elif not tcb.ready_at:
            woken.setdefault(core_of(place_of(tcb)), []).append(tcb)
        elif tcb.ready_at & PLACE_MASK != place_of(tcb) or address in core.put_anew:
            _move(core, tcb, woken)
    domain = domains.current(core.kernel)
    for number, each in enumerate(all_cores(core.kernel)):
        _choose_on(core, number, each, domain, woken.get(number, []), take_consumed)
    core.forget_choices()


def leave(tcb: Tcb) -> None:
    """The thread is not ready any more: it neither runs nor waits for its turn."""
    at = tcb.ready_at
    if at & QUEUED:
        ready.remove(tcb)
    elif at & RUNNING:
        VirtualCore.of(tcb.ram, core_of(at)).current = None
        tcb.ready_at = 0
    if tcb.waits_turn:
        tcb.waits_turn = 0


def _move(core: Core, tcb: Tcb, woken: dict[int, list[Tcb]]) -> None:
    """The thread is ready, and its core, domain or priority has changed, or it is put there anew. It keeps its core, if
    it has one, for now."""
    if tcb.ready_at & QUEUED:
        ready.remove(tcb)
        if core.put_anew.get(tcb.address) is Place.WOKEN:
            woken.setdefault(core_of(place_of(tcb)), []).append(tcb)
        else:
            ready.push(tcb)
    elif core_of(tcb.ready_at) == core_of(place_of(tcb)):
        tcb.ready_at = RUNNING | place_of(tcb)
    else:
        leave(tcb)
        woken.setdefault(core_of(place_of(tcb)), []).append(tcb)


def _choose_on(
    core: Core, number: int, each: VirtualCore, domain: int, woken: list[Tcb], take_consumed: yielding.Take
) -> None:
    before = each.current
    keeps = before is not None and before.domain == domain and not _gives_way(core, before)
    candidates = [tcb for tcb in woken if tcb.domain == domain]
    goes_on = before if keeps and len(candidates) == 1 and not core.chooses_anew else None
    for tcb in woken:
        _let_wait(core, tcb)
        equal = goes_on is not None and tcb.domain == domain and tcb.priority == goes_on.priority
        if equal or _is_over(core, tcb):
            ready.append(tcb)
        else:
            ready.push(tcb)
    first = ready.first(each, domain)
    if keeps and before is not None and (first is None or first.priority <= before.priority):
        _trace(core, number, before)
        return
    if before is not None:
        _let_wait(core, before)
        _put_back(core, before)
        first = ready.first(each, domain)
    each.current = first
    if first is not None:
        ready.remove(first)
        first.ready_at = RUNNING | place_of(first)
        first.waits_turn = 0
        core.touched[first.address] = None
        yielding.complete(core, first, take_consumed)
    _trace(core, number, first)


def _trace(core: Core, number: int, tcb: Tcb | None) -> None:
    core.trace.runs(core.now(), number, 0 if tcb is None else tcb.address, "" if tcb is None else tcb.name)


def _let_wait(core: Core, tcb: Tcb) -> None:
    tcb.waits_turn = 1
    core.touched[tcb.address] = None


def _is_over(core: Core, tcb: Tcb) -> bool:
    context: SchedContext | None = tcb.sched_context
    return context is not None and context.address in core.turn_over


def _gives_way(core: Core, tcb: Tcb) -> bool:
    return _is_over(core, tcb) or tcb.address in core.gives_way


def _put_back(core: Core, tcb: Tcb) -> None:
    """It had the core, and is put among those that wait: as the first of its priority, unless its slice is over."""
    if _is_over(core, tcb):
        ready.append(tcb)
        return
    ready.push(tcb)
    target = core.gives_way.get(tcb.address)
    if target is not None and core.tcb(target).ready_at & QUEUED:
        ready.remove(core.tcb(target))
        ready.push(core.tcb(target))
