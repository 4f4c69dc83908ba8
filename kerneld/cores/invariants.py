"""What is true of virtual cores between any two transactions. Predicates as in `invariants.py`, which runs them."""

from __future__ import annotations

from collections.abc import Iterator

from kerneld import layout, scheduler
from kerneld.cores import domains, ready
from kerneld.cores.record import PLACE_MASK, QUEUED, RUNNING, all_cores, place_of
from kerneld.predicates import Finding, Registry
from kerneld.records import CapType, KernelRecord, Tcb
from kerneld.survey import Survey
from kerneld.thread_invariants import name
from libsel4py import abi

PREDICATES = Registry()
predicate = PREDICATES.predicate


def _threads(found: Survey) -> list[Tcb]:
    return [Tcb(found.ram, address) for address in found.of_type(CapType.TCB)]


@predicate("virtual-cores", "A thread that is ready has a virtual core, or waits for its turn at its place; no other.")
def _virtual_cores(found: Survey) -> Finding:
    kernel = KernelRecord.of(found.ram)
    for thread in _threads(found):
        at = thread.ready_at
        if not kernel.cores or not scheduler.is_ready(thread):
            if at or thread.waits_turn:
                yield f"{name(thread)} is not ready, and waits for a virtual core or has one"
        elif at & ~PLACE_MASK not in (QUEUED, RUNNING) or at & PLACE_MASK != place_of(thread):
            yield f"{name(thread)} is ready, and not at its place 0x{place_of(thread):x} but at 0x{at:x}"
        elif bool(at & QUEUED) != bool(thread.waits_turn):
            yield f"{name(thread)} is at 0x{at:x}, and says that it waits for its turn: {bool(thread.waits_turn)}"


@predicate(
    "chosen", "A virtual core runs a thread of the highest priority that is ready, of the domain whose turn it is."
)
def _chosen(found: Survey) -> Finding:
    kernel = KernelRecord.of(found.ram)
    if kernel.cores > layout.CORES_HIGH or kernel.domain_index >= abi.DOMAIN_SCHEDULE_LENGTH:
        yield f"{kernel.cores} virtual cores, and entry {kernel.domain_index} of the schedule: no such thing"
        return
    domain = domains.current(kernel)
    alive = found.of_type(CapType.TCB)
    for number, core in enumerate(all_cores(kernel)):
        current, first = core.current, ready.first(core, domain)
        if current is None:
            if first is not None:
                yield f"core {number} is idle, and {name(first)} is ready"
        elif current.address not in alive or not current.ready_at & RUNNING or current.domain != domain:
            yield f"core {number} runs 0x{current.address:x}, which is at 0x{current.ready_at:x}"
        elif first is not None and first.priority > current.priority:
            yield f"core {number} runs {name(current)}, and {name(first)} has a higher priority"


@predicate("ready-queues", "A ready queue's links agree in both directions, and its threads are those that say so.")
def _ready_queues(found: Survey) -> Finding:
    alive = found.of_type(CapType.TCB)
    waiting = [thread for thread in _threads(found) if thread.ready_at & QUEUED]
    for place in sorted({thread.ready_at & PLACE_MASK for thread in waiting}):
        members = list(_queue(found, place, len(alive)))
        expected = {thread.address for thread in waiting if thread.ready_at & PLACE_MASK == place}
        if {member.address for member in members} != expected or len(members) != len(expected):
            yield f"the queue at 0x{place:x} has {len(members)} threads, and {len(expected)} say that they are in it"
        for before, behind in zip([None, *members], [*members, None], strict=True):
            if behind is not None and behind.ready_prev != before:
                yield f"{name(behind)} has another before it than its queue says"
        if members and ready.ends(members[0], place)[1] != members[-1]:
            yield f"the queue at 0x{place:x} ends with another thread than it says"


def _queue(found: Survey, place: int, limit: int) -> Iterator[Tcb]:
    """The threads of a queue; at most one more than there are threads."""
    at = ready.ends(Tcb(found.ram, 0), place)[0]
    while at is not None and limit >= 0:
        limit -= 1
        yield at
        at = at.ready_next
