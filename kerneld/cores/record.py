"""A virtual core's record: the thread that it runs, and the threads that are ready to run on it.

The records lie one behind the other at `layout.CORES`, as many as `KernelRecord.cores` says. A ready queue is a list
for each domain and priority, first come first served, and a bit in the domain's bitmap while it is not empty.
"""

from __future__ import annotations

from typing import Final

from hw.ram import Ram, Record, Ref
from kerneld import layout
from kerneld.records import KernelRecord, Tcb
from libsel4py import abi

QUEUED: Final = 1 << 32  # of Tcb.ready_at: in the queue of the place that the other bits name
RUNNING: Final = 1 << 33  # it is what that place's core runs
PLACE_MASK: Final = QUEUED - 1
BITMAP_WORDS: Final = abi.PRIORITIES // abi.WORD_BITS


class VirtualCore(Record):
    """One core. Its queues are `ready.py`'s."""

    __slots__ = ()
    SIZE: Final = layout.CORE_BYTES

    current: Ref[Tcb] = Ref(0, lambda: Tcb)  # None: it is idle
    BITMAPS: Final = 0x100  # for each domain, a bit for each priority
    QUEUES: Final = 0x1000  # for each domain and priority, two words: the first thread, the last one

    @classmethod
    def of(cls, ram: Ram, number: int) -> VirtualCore:
        """The core of this number, below `KernelRecord.cores`."""
        return cls(ram, layout.CORES + number * cls.SIZE)


assert VirtualCore.BITMAPS + abi.DOMAINS * BITMAP_WORDS * abi.WORD_BYTES <= VirtualCore.QUEUES
assert VirtualCore.QUEUES + abi.DOMAINS * abi.PRIORITIES * 2 * abi.WORD_BYTES <= VirtualCore.SIZE


def all_cores(kernel: KernelRecord) -> list[VirtualCore]:
    """The machine's virtual cores; none where the host shares out the processors."""
    return [VirtualCore.of(kernel.ram, number) for number in range(kernel.cores)]


def place_of(tcb: Tcb) -> int:
    """Core, domain and priority that a thread with a scheduling context is to run at, in one word."""
    context = tcb.sched_context
    core = context.core if context is not None else 0
    return core << 16 | tcb.domain << 8 | tcb.priority


def core_of(place: int) -> int:
    return place >> 16 & 0xFF


def domain_of(place: int) -> int:
    return place >> 8 & 0xFF
