"""Which slots of a CNode are free: a bitmap.

Rules: the allocator knows numbers, not contents; whoever frees a slot has emptied it before. A slot is given out
at most once between two frees, and freeing a free slot is an error, since it means that two owners believe in it.
One lock guards the map, so that all threads of a task may share it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass


class OutOfSlots(MemoryError):
    """The CNode has no run of free slots of the length asked for."""


@dataclass(frozen=True, slots=True)
class SlotStatistics:
    """Slots that the allocator was given, that are free, and the longest run of free ones."""

    total: int
    free: int
    longest_run: int


class SlotAllocator:
    """Free slots among ``first``..``first + count - 1``.

    Args:
        first: index of the first slot that may be given out. count: how many there are.
        taken: slots in that range that are in use already.
    Raises:
        ValueError: ``count`` or ``first`` is negative, or a taken slot is out of range or named twice.
    """

    def __init__(self, first: int, count: int, taken: Iterable[int] = ()) -> None:
        if first < 0 or count < 0:
            raise ValueError(f"slots {first}..{first + count - 1} are no range of slots")
        self._first = first
        self._count = count
        self._free = (1 << count) - 1  # bit n: slot first + n is free
        self._lock = threading.Lock()
        for slot in taken:
            self.reserve(slot)

    @property
    def free_count(self) -> int:
        return self._free.bit_count()

    def statistics(self) -> SlotStatistics:
        with self._lock:
            free = self._free
        return SlotStatistics(self._count, free.bit_count(), _longest_run(free))

    def allocate(self) -> int:
        """The lowest free slot. Raises OutOfSlots."""
        return self.allocate_range(1).start

    def allocate_range(self, count: int) -> range:
        """The lowest ``count`` free slots in a row, as Untyped.retype needs them.

        Raises:
            OutOfSlots: no such run is left. ValueError: ``count`` is below 1.
        """
        if count < 1:
            raise ValueError(f"cannot allocate {count} slots: ask for 1 or more")
        with self._lock:
            runs = _runs(self._free, count)
            if not runs:
                raise OutOfSlots(
                    f"no {count} free slots in a row among {self._first}..{self._first + self._count - 1} "
                    f"({self.free_count} free in all): give the task a larger CNode, or free slots"
                )
            offset = (runs & -runs).bit_length() - 1
            self._free &= ~(((1 << count) - 1) << offset)
        return range(self._first + offset, self._first + offset + count)

    def reserve(self, slot: int) -> None:
        """Take one particular slot. Raises ValueError if it is not free."""
        bit = self._bit(slot)
        with self._lock:
            if not self._free & bit:
                raise ValueError(f"slot {slot} is in use already")
            self._free &= ~bit

    def free(self, slot: int) -> None:
        """Give back one slot. Raises ValueError if it is free already or not of this allocator."""
        bit = self._bit(slot)
        with self._lock:
            if self._free & bit:
                raise ValueError(f"slot {slot} was freed twice: two owners believe that they hold it")
            self._free |= bit

    def free_range(self, slots: range) -> None:
        """Give back all of ``slots``, or none: ValueError if any of them is free already."""
        bits = 0
        for slot in slots:
            bits |= self._bit(slot)
        with self._lock:
            if self._free & bits:
                raise ValueError(f"slots {slots.start}..{slots.stop - 1} were freed twice, at least in part")
            self._free |= bits

    def is_known(self, slot: int) -> bool:
        """Whether it is one of this allocator's."""
        return self._first <= slot < self._first + self._count

    def is_free(self, slot: int) -> bool:
        return bool(self._free & self._bit(slot))

    def _bit(self, slot: int) -> int:
        if not self.is_known(slot):
            raise ValueError(f"slot {slot} is not among {self._first}..{self._first + self._count - 1}")
        return 1 << (slot - self._first)


def _runs(free: int, length: int) -> int:
    """Bits at which a run of ``length`` set bits begins, in log2(length) steps."""
    have = 1
    while have < length and free:
        step = min(have, length - have)
        free &= free >> step
        have += step
    return free


def _longest_run(free: int) -> int:
    """The length of the longest run of set bits, in log2 steps of doubling and halving."""
    shorter, longer = 0, 1
    while _runs(free, longer):
        shorter, longer = longer, 2 * longer
    while longer - shorter > 1:
        between = (shorter + longer) // 2
        shorter, longer = (between, longer) if _runs(free, between) else (shorter, between)
    return shorter
