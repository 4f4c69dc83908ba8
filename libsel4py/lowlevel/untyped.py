"""Memory for kernel objects: a buddy allocator over untyped capabilities.

A block is an untyped capability. A larger block is split by retyping it to two untypeds of half its size; a
freed block is revoked, which deletes what was made from it, and joins its buddy again when both are whole. So
what the kernel accounts and what this allocator believes are the same tree, and memory comes back entirely.

Rules: the allocator's bookkeeping changes only after the kernel has done its part, so a refused invocation
leaves both as they were. Objects that are allocated together live in one block and are freed together.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from libsel4py.abi import RETYPE_MAX_OBJECTS, UNTYPED_MAX_BITS, UNTYPED_MIN_BITS, ObjectType, object_size_bits
from libsel4py.capabilities import CNode, Untyped
from libsel4py.errors import NotEnoughMemory
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.cspace import SlotAllocator


class _State(Enum):
    FREE = "free"
    SPLIT = "split"
    USED = "used"


@dataclass(slots=True, eq=False)
class _Block:
    """One untyped capability in slot ``slot``, of 2**bits bytes."""

    slot: int
    bits: int
    parent: _Block | None
    state: _State = _State.FREE
    halves: tuple[_Block, _Block] | None = None
    objects: range = range(0)
    object_bytes: int = 0  # of all of them


@dataclass(frozen=True, slots=True)
class UntypedStatistics:
    """Bytes that the allocator was given, that lie in free blocks, and the largest single free block."""

    total_bytes: int
    free_bytes: int
    largest_free_bytes: int


@dataclass(frozen=True, slots=True)
class Block:
    """One untyped of the allocator's tree, as a report has it.

    Objects fill ``used_bytes`` of it, ``padding_bytes`` are left over in blocks in use, and the rest is free.

    Attributes:
        depth: 0 for an untyped that was added. root: its slot. offset: bytes from the start of that untyped.
        state: free, split (its halves follow) or used. objects: slots of what was made from it, empty unless used.
    """

    depth: int
    root: int
    offset: int
    size_bits: int
    used_bytes: int
    padding_bytes: int
    state: str
    objects: range


class UntypedAllocator:
    """Allocates objects from untyped capabilities whose slots, like the objects', lie in ``cnode``.

    Args:
        cnode: the CNode that capabilities are put into; slots are direct indices of it.
        slots: its free slots.
    """

    def __init__(self, cnode: CNode, slots: SlotAllocator) -> None:
        self._cnode = cnode
        self._slots = slots
        self._roots: list[_Block] = []
        self._free: dict[int, list[_Block]] = {bits: [] for bits in range(UNTYPED_MIN_BITS, UNTYPED_MAX_BITS + 1)}
        self._used: dict[int, _Block] = {}  # by first slot of its objects
        self._lock = threading.RLock()

    def add(self, untyped: Untyped, size_bits: int) -> None:
        """Give the allocator an untyped that has no children, of 2**size_bits bytes, named by its slot.

        Raises:
            ValueError: the size is not one that an untyped can have.
        """
        if size_bits not in self._free:
            raise ValueError(f"size_bits {size_bits} is not in {UNTYPED_MIN_BITS}..{UNTYPED_MAX_BITS}")
        with self._lock:
            block = _Block(untyped.cptr, size_bits, None)
            self._roots.append(block)
            self._free[size_bits].append(block)

    def statistics(self) -> UntypedStatistics:
        with self._lock:
            free = [block.bits for blocks in self._free.values() for block in blocks]
            return UntypedStatistics(
                sum(1 << block.bits for block in self._roots),
                sum(1 << bits for bits in free),
                1 << max(free) if free else 0,
            )

    def blocks(self) -> list[Block]:
        """The whole tree, each block before its halves, low addresses first."""
        with self._lock:
            return [described for block in self._roots for described in _describe(block, 0, block.slot, 0)]

    def allocate(self, object_type: ObjectType, size_bits: int = 0, count: int = 1) -> range:
        """Make ``count`` objects of one type and return their slots, which follow each other.

        Args:
            size_bits: as Untyped.retype takes it; ignored for types of fixed size.
        Raises:
            NotEnoughMemory: no block is large enough; the text says what is left.
            OutOfSlots: the CNode has no run of free slots. KernelError: the kernel refused the object.
        """
        if count < 1:
            raise ValueError(f"cannot allocate {count} objects: ask for 1 or more")
        object_bits = object_size_bits(object_type, size_bits)
        bits = max(object_bits + (count - 1).bit_length(), UNTYPED_MIN_BITS)
        with self._lock:
            block = self._take(bits, f"{count} {object_type.name} of {1 << object_bits} bytes")
            try:
                block.objects = self._make(block, object_type, size_bits, count)
                block.object_bytes = count << object_bits
            except BaseException:
                self._release(block)
                raise
            self._used[block.objects.start] = block
            return block.objects

    def free(self, slot: int) -> None:
        """Delete the objects that were allocated together with ``slot`` as their first, and take the memory back.

        Every capability to them, in any task, is gone afterwards.

        Raises:
            ValueError: no allocation begins at that slot (or it was freed before).
        """
        with self._lock:
            block = self._used.get(slot)
            if block is None:
                raise ValueError(f"slot {slot} is not the first slot of an allocation: freed already?")
            self._cnode.revoke(block.slot)
            del self._used[slot]
            self._slots.free_range(block.objects)
            block.objects, block.object_bytes = range(0), 0
            self._release(block)

    def queue_destruction(self, batch: Batch, slot: int) -> None:
        """Queue that an object is deleted; `queue_renewal` makes it anew, `free` takes its memory back.

        Raises:
            ValueError: no allocation of one object begins at that slot.
        """
        with self._lock:
            batch.queue(self._cnode.revoke, self._alone(slot).slot)

    def queue_renewal(self, batch: Batch, slot: int, object_type: ObjectType, size_bits: int = 0) -> None:
        """Queue that an object is deleted and one of its type and size is made in its place, of the same memory.

        Every capability to the former one, in any task, is gone afterwards.

        Raises:
            ValueError: no allocation of one object begins at that slot.
        """
        with self._lock:
            block = self._alone(slot)
            batch.queue(self._cnode.revoke, block.slot)
            batch.queue(Untyped(block.slot).retype, object_type, size_bits, self._cnode, slot)

    def _alone(self, slot: int) -> _Block:
        block = self._used.get(slot)
        if block is None or len(block.objects) != 1:
            raise ValueError(f"slot {slot} holds no object that was allocated alone")
        return block

    def _make(self, block: _Block, object_type: ObjectType, size_bits: int, count: int) -> range:
        slots = self._slots.allocate_range(count)
        untyped = Untyped(block.slot)
        try:
            for first in _steps(count):
                number = min(RETYPE_MAX_OBJECTS, count - first)
                untyped.retype(object_type, size_bits, self._cnode, slots.start + first, number)
        except BaseException:
            self._cnode.revoke(block.slot)
            self._slots.free_range(slots)
            raise
        return slots

    def _take(self, bits: int, what: str) -> _Block:
        """A free block of exactly 2**bits bytes, split from the smallest that is large enough."""
        fitting = [size for size in range(bits, UNTYPED_MAX_BITS + 1) if self._free[size]]
        if not fitting:
            left = self.statistics()
            raise NotEnoughMemory(
                left.largest_free_bytes,
                invocation="UntypedAllocator.allocate",
                explanation=f"{what} need one block of {1 << bits} bytes; {left.free_bytes} of {left.total_bytes} "
                f"bytes are free, the largest block has {left.largest_free_bytes}",
            )
        block = self._split(self._free[fitting[0]][-1], bits)
        self._free[bits].remove(block)
        block.state = _State.USED
        return block

    def _split(self, block: _Block, bits: int) -> _Block:
        """Halve a block, and the lower half of that, until it has 2**bits bytes, by one trap."""
        slots: list[range] = []
        try:
            with Batch() as batch:
                slot = block.slot
                for size in range(block.bits - 1, bits - 1, -1):
                    slots.append(self._slots.allocate_range(2))
                    batch.queue(Untyped(slot).retype, ObjectType.UNTYPED, size, self._cnode, slots[-1].start, 2)
                    slot = slots[-1].start
        except BaseException:
            self._cnode.revoke(block.slot)
            for pair in slots:
                self._slots.free_range(pair)
            raise
        for pair in slots:
            low, high = (_Block(slot, block.bits - 1, block) for slot in pair)
            self._free[block.bits].remove(block)
            block.state, block.halves = _State.SPLIT, (low, high)
            self._free[low.bits] += (high, low)
            block = low
        return block

    def _release(self, block: _Block) -> None:
        """Put a block back that has no children any more; join whole pairs upwards, by one invocation."""
        block.state = _State.FREE
        self._free[block.bits].append(block)
        whole: list[_Block] = []
        while (parent := block.parent) is not None and all(
            half is block or half.state is _State.FREE for half in parent.halves or ()
        ):
            whole.append(parent)
            block = parent
        if whole:
            self._cnode.revoke(whole[-1].slot)
        for parent in whole:
            assert parent.halves is not None
            low, high = parent.halves
            self._free[low.bits].remove(low)
            self._free[high.bits].remove(high)
            self._slots.free_range(range(low.slot, low.slot + 2))
            parent.state, parent.halves = _State.FREE, None
            self._free[parent.bits].append(parent)


def _steps(count: int) -> Iterator[int]:
    yield from range(0, count, RETYPE_MAX_OBJECTS)


def _bytes(block: _Block) -> tuple[int, int]:
    """(used by objects, padding) of a block."""
    if block.halves is not None:
        low, high = map(_bytes, block.halves)
        return low[0] + high[0], low[1] + high[1]
    if block.state is not _State.USED:
        return 0, 0
    return block.object_bytes, (1 << block.bits) - block.object_bytes


def _describe(block: _Block, depth: int, root: int, offset: int) -> Iterator[Block]:
    yield Block(depth, root, offset, block.bits, *_bytes(block), block.state.value, block.objects)
    if block.halves is not None:
        low, high = block.halves
        yield from _describe(low, depth + 1, root, offset)
        yield from _describe(high, depth + 1, root, offset + (1 << low.bits))
