"""A conformance suite for allocators of memory: whatever makes objects of untyped memory can run it.

    from libsel4py.testing.allocator import ALLOCATOR_CHECKS, Subject

    @pytest.mark.parametrize("name", ALLOCATOR_CHECKS)
    def test_it_is_an_allocator(name: str) -> None:
        ALLOCATOR_CHECKS[name](Subject(mine.allocate, mine.free, mine.statistics, task.slots, task.cnode))

Each check has a stable id and a sentence, frees what it has allocated, and raises AssertionError with what it saw. The
allocator has nothing allocated before, and memory in one piece: 2**14 to 2**20 bytes. It takes slots of ``slots``
alone, which nobody else uses meanwhile. It needs a kernel that answers IDENTIFY: in a booted system, or in a unit test
with the pure kernel.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from libsel4py.abi import UNTYPED_MIN_BITS, CapType, ObjectType, object_size_bits
from libsel4py.capabilities import CNode
from libsel4py.errors import NotEnoughMemory
from libsel4py.lowlevel.cspace import OutOfSlots, SlotAllocator
from libsel4py.lowlevel.identify import identify
from libsel4py.lowlevel.untyped import UntypedStatistics
from libsel4py.testing.checks import by_id, refused, run_all

ENDPOINT, FRAME, UNTYPED = ObjectType.ENDPOINT, ObjectType.FRAME, ObjectType.UNTYPED
FRAME_BITS: Final = 12
LEAST_BITS, MOST_BITS = 14, 20
SEED: Final = 9
STEPS: Final = 300


@dataclass
class Subject:
    """What is examined. ``allocate(type, size_bits, count)`` and ``free(slot)`` as `UntypedAllocator` has them."""

    allocate: Callable[[ObjectType, int, int], range]
    free: Callable[[int], None]
    statistics: Callable[[], UntypedStatistics]
    slots: SlotAllocator
    cnode: CNode

    def __post_init__(self) -> None:
        total = self.statistics().total_bytes
        assert 1 << LEAST_BITS <= total <= 1 << MOST_BITS, f"{total} bytes are too few or too many for these checks"

    def state(self) -> tuple[UntypedStatistics, int]:
        """What is left: memory, and slots."""
        return self.statistics(), self.slots.free_count

    def fill(self, object_type: ObjectType, size_bits: int) -> list[int]:
        """The slots of as many objects as there is room for, each allocated alone."""
        made: list[int] = []
        try:
            while True:
                made.append(self.allocate(object_type, size_bits, 1).start)
        except (NotEnoughMemory, OutOfSlots):
            return made

    def empty(self, made: list[int]) -> None:
        for slot in made:
            self.free(slot)


def _unchanged(subject: Subject, before: tuple[UntypedStatistics, int], behind: str) -> None:
    now = subject.state()
    assert now == before, f"behind {behind} there are {now}, and there were {before}"


def _alloc_0001(subject: Subject) -> None:
    """ALLOC0001 Objects are of the type and size that were asked for, in slots that follow each other."""
    for object_type, size_bits, count in ((ENDPOINT, 0, 1), (FRAME, FRAME_BITS, 2), (UNTYPED, 6, 3), (ENDPOINT, 0, 7)):
        slots = subject.allocate(object_type, size_bits, count)
        assert slots.step == 1, f"slots {slots} do not follow each other"
        assert len(slots) == count, f"{len(slots)} objects were made of {count}"
        for slot in slots:
            found = identify(slot)
            assert found.type == object_type.name, f"slot {slot} holds {found.type}, not {object_type.name}"
            if size_bits:
                assert found.size_bits == size_bits, f"it has 2**{found.size_bits} bytes of 2**{size_bits}"
        subject.free(slots.start)


def _alloc_0002(subject: Subject) -> None:
    """ALLOC0002 A slot is given out once until its object is freed."""
    made = [subject.allocate(ENDPOINT, 0, count) for count in (1, 3, 2, 1)]
    every = [slot for slots in made for slot in slots]
    assert len(every) == len(set(every)), f"slots were given out twice: {made}"
    subject.free(made[1].start)
    more = subject.allocate(ENDPOINT, 0, 3)
    del made[1]
    assert all(set(slots).isdisjoint(more) for slots in made), f"{more} holds slots that are in use"
    subject.empty([slots.start for slots in (*made, more)])


def _alloc_0003(subject: Subject) -> None:
    """ALLOC0003 All memory and all slots come back, whatever was made and in whichever order it is freed."""
    before, chooser = subject.state(), random.Random(SEED)
    for size_bits in (6, FRAME_BITS, LEAST_BITS - 1):
        made = subject.fill(UNTYPED, size_bits)
        assert made, f"nothing of 2**{size_bits} bytes could be made"
        chooser.shuffle(made)
        subject.empty(made)
        _unchanged(subject, before, f"{len(made)} objects of 2**{size_bits} bytes")


def _alloc_0004(subject: Subject) -> None:
    """ALLOC0004 Freed memory can be had as one piece again."""
    bits = subject.statistics().total_bytes.bit_length() - 1
    subject.empty(subject.fill(UNTYPED, FRAME_BITS))
    subject.empty([subject.allocate(UNTYPED, bits, 1).start])


def _alloc_0005(subject: Subject) -> None:
    """ALLOC0005 What does not fit is refused with NotEnoughMemory, which says how much would, and nothing is taken."""
    total = subject.statistics().total_bytes
    made = [subject.allocate(FRAME, FRAME_BITS, 1).start]
    before = subject.state()
    for bits, count in ((total.bit_length() - 1, 1), (total.bit_length() + 3, 1), (FRAME_BITS, total >> FRAME_BITS)):
        refused(NotEnoughMemory, f"{count} of 2**{bits} bytes", partial(subject.allocate, UNTYPED, bits, count))
        _unchanged(subject, before, f"a refusal of {count} of 2**{bits} bytes")
    largest = before[0].largest_free_bytes.bit_length() - 1
    made.append(subject.allocate(UNTYPED, largest, 1).start)
    subject.empty(made)


def _alloc_0006(subject: Subject) -> None:
    """ALLOC0006 What is freed is gone for everybody: its slot is empty, and so are those of its copies."""
    first = subject.allocate(FRAME, FRAME_BITS, 2)
    copy = subject.slots.allocate()
    try:
        subject.cnode.copy(copy, subject.cnode, first.start)
        subject.free(first.start)
        for slot in (*first, copy):
            assert identify(slot).type == CapType.NULL.name, f"slot {slot} holds {identify(slot).type} still"
    finally:
        subject.slots.free(copy)


def _alloc_0007(subject: Subject) -> None:
    """ALLOC0007 What does not begin at a slot cannot be freed there, nor anything twice: ValueError, and no change."""
    made = subject.allocate(ENDPOINT, 0, 3)
    before = subject.state()
    for slot in (made.start + 1, made.stop - 1, made.stop + 1000):
        refused(ValueError, f"slot {slot}, at which nothing begins,", partial(subject.free, slot))
    _unchanged(subject, before, "refusals")
    assert identify(made.start).type == ENDPOINT.name, "a refused request has freed something"
    subject.free(made.start)
    before = subject.state()
    refused(ValueError, "what was freed before", lambda: subject.free(made.start))
    _unchanged(subject, before, "a second request to free it")


def _alloc_0008(subject: Subject) -> None:
    """ALLOC0008 No objects, or fewer, are a ValueError."""
    before = subject.state()
    for count in (0, -1):
        refused(ValueError, f"{count} objects", partial(subject.allocate, ENDPOINT, 0, count))
    _unchanged(subject, before, "refusals")


def _alloc_0009(subject: Subject) -> None:
    """ALLOC0009 Where slots are short it raises OutOfSlots, and nothing is taken."""
    held = [subject.slots.allocate() for _ in range(subject.slots.free_count - 1)]
    try:
        before = subject.state()
        refused(OutOfSlots, "four objects for one slot", lambda: subject.allocate(ENDPOINT, 0, 4))
        _unchanged(subject, before, "a refusal")
    finally:
        for slot in held:
            subject.slots.free(slot)


def _alloc_0010(subject: Subject) -> None:
    """ALLOC0010 What it says of itself is so: objects and what is free never make more than there is."""
    before, chooser, made = subject.state(), random.Random(SEED), dict[int, int]()
    for _ in range(STEPS):
        if made and chooser.random() < 0.45:
            slot = chooser.choice(list(made))
            subject.free(slot)
            del made[slot]
        else:
            object_type, bits = chooser.choice(((ENDPOINT, 0), (FRAME, FRAME_BITS), (UNTYPED, UNTYPED_MIN_BITS + 3)))
            count = chooser.randint(1, 4)
            try:
                slots = subject.allocate(object_type, bits, count)
            except (NotEnoughMemory, OutOfSlots):
                continue
            made[slots.start] = count << object_size_bits(object_type, bits)
        now = subject.statistics()
        assert now.total_bytes == before[0].total_bytes, "the whole has changed"
        assert now.free_bytes + sum(made.values()) <= now.total_bytes, f"{now} beside {sum(made.values())} bytes in use"
        assert now.largest_free_bytes <= now.free_bytes, f"{now}: one free piece is more than all of them"
    subject.empty(list(made))
    _unchanged(subject, before, f"{STEPS} random requests")


ALLOCATOR_CHECKS: Final = by_id(
    (
        _alloc_0001,
        _alloc_0002,
        _alloc_0003,
        _alloc_0004,
        _alloc_0005,
        _alloc_0006,
        _alloc_0007,
        _alloc_0008,
        _alloc_0009,
        _alloc_0010,
    )
)


def check_allocator(subject: Subject) -> None:
    """Run all checks. Raises AssertionError, with the id and sentence of the check that failed as a note."""
    run_all(ALLOCATOR_CHECKS, subject)


__all__ = ["ALLOCATOR_CHECKS", "Subject", "check_allocator"]
