"""The queues of threads that are ready and do not run, by core, domain and priority. Each step takes the same time,
however many threads there are. SEL4 `tcbSchedEnqueue`, `tcbSchedAppend`, `tcbSchedDequeue`.

`Tcb.ready_at` says where a thread is queued, so that it is found there after its priority or domain has changed.
"""

from __future__ import annotations

from kerneld.cores.record import BITMAP_WORDS, PLACE_MASK, QUEUED, VirtualCore, core_of, domain_of, place_of
from kerneld.records import Tcb
from libsel4py import abi


def push(tcb: Tcb) -> None:
    """Put a thread before all others of its priority."""
    place, (first, last) = _enter(tcb)
    if first is not None:
        first.ready_prev = tcb
        tcb.ready_next = first
    _set_ends(tcb, place, tcb, last if last is not None else tcb)


def append(tcb: Tcb) -> None:
    """Put a thread behind all others of its priority."""
    place, (first, last) = _enter(tcb)
    if last is not None:
        last.ready_next = tcb
        tcb.ready_prev = last
    _set_ends(tcb, place, first if first is not None else tcb, tcb)


def remove(tcb: Tcb) -> None:
    """Take a thread out of the queue that it is in."""
    place = tcb.ready_at & PLACE_MASK
    first, last = ends(tcb, place)
    before, behind = tcb.ready_prev, tcb.ready_next
    if before is not None:
        before.ready_next = behind
    else:
        first = behind
    if behind is not None:
        behind.ready_prev = before
    else:
        last = before
    tcb.ready_prev = tcb.ready_next = None
    tcb.ready_at = 0
    _set_ends(tcb, place, first, last)


def first(core: VirtualCore, domain: int) -> Tcb | None:
    """The thread of that domain whose turn it is: the first one of the highest priority."""
    bitmap = core.address + VirtualCore.BITMAPS + domain * BITMAP_WORDS * abi.WORD_BYTES
    for number in reversed(range(BITMAP_WORDS)):
        if word := core.ram.word(bitmap + number * abi.WORD_BYTES):
            priority = number * abi.WORD_BITS + word.bit_length() - 1
            address = core.ram.word(_queue(core, domain << 8 | priority))
            return Tcb(core.ram, address)
    return None


def ends(tcb: Tcb, place: int) -> tuple[Tcb | None, Tcb | None]:
    """First and last thread of the queue at a place."""
    first, last = tcb.ram.words(_queue(VirtualCore.of(tcb.ram, core_of(place)), place), 2)
    return Tcb(tcb.ram, first) if first else None, Tcb(tcb.ram, last) if last else None


def _queue(core: VirtualCore, place: int) -> int:
    return core.address + VirtualCore.QUEUES + (place & 0xFFFF) * 2 * abi.WORD_BYTES


def _enter(tcb: Tcb) -> tuple[int, tuple[Tcb | None, Tcb | None]]:
    place = place_of(tcb)
    tcb.ready_at = QUEUED | place
    return place, ends(tcb, place)


def _set_ends(tcb: Tcb, place: int, first: Tcb | None, last: Tcb | None) -> None:
    ram, core = tcb.ram, VirtualCore.of(tcb.ram, core_of(place))
    queue = _queue(core, place)
    ram.set_word(queue, first.address if first is not None else 0)
    ram.set_word(queue + abi.WORD_BYTES, last.address if last is not None else 0)
    priority = place & 0xFF
    number, bit = divmod(priority, abi.WORD_BITS)
    word = core.address + VirtualCore.BITMAPS + (domain_of(place) * BITMAP_WORDS + number) * abi.WORD_BYTES
    bits = ram.word(word)
    ram.set_word(word, bits | 1 << bit if first is not None else bits & ~(1 << bit))
