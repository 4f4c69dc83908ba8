"""The conformance suite for allocators: both of the SDK's pass it, and each check finds an allocator that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from libsel4py import NotEnoughMemory, Untyped
from libsel4py.abi import ObjectType
from libsel4py.banks import SpaceBank
from libsel4py.environment import Environment
from libsel4py.errors import KernelError
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.untyped import UntypedAllocator, UntypedStatistics
from libsel4py.task import Task, as_task
from libsel4py.testing.allocator import ALLOCATOR_CHECKS, Subject, check_allocator
from tests.harness import Machine
from tests.unit.sdk.kernel_cpu import bench

SLOTS, BITS = 600, 16


@pytest.fixture
def task() -> Iterator[Task]:
    machine = Machine()
    with bench(machine):
        made = Task(Environment("root", first_free_slot=machine.new_slots(SLOTS), free_slots=SLOTS))
        made.memory.add(Untyped(machine.retype(ObjectType.UNTYPED, BITS)), BITS)
        with as_task(made):
            yield made


def plain(task: Task) -> Subject:
    memory = task.memory
    return Subject(memory.allocate, memory.free, memory.statistics, task.slots, task.cnode)


def bank(task: Task) -> Subject:
    made = SpaceBank.open(task, BITS)
    return Subject(made.buy, made.sell, made.statistics, task.slots, task.cnode)


@pytest.mark.parametrize("make", [plain, bank])
@pytest.mark.parametrize("name", ALLOCATOR_CHECKS)
def test_allocators_of_the_sdk_pass_it(task: Task, name: str, make: Callable[[Task], Subject]) -> None:
    ALLOCATOR_CHECKS[name](make(task))


class Wrong:
    """The SDK's allocator, with something the matter."""

    def __init__(self, task: Task) -> None:
        self.task, self.memory = task, task.memory

    def allocate(self, object_type: ObjectType, size_bits: int, count: int) -> range:
        return self.memory.allocate(object_type, size_bits, count)

    def free(self, slot: int) -> None:
        self.memory.free(slot)

    def statistics(self) -> UntypedStatistics:
        return self.memory.statistics()


class OneTooFew(Wrong):
    def allocate(self, object_type: ObjectType, size_bits: int, count: int) -> range:
        return super().allocate(object_type, size_bits, max(count - 1, 1) if count > 0 else count)


class SameTwice(Wrong):
    """The first object alone is everybody's."""

    first: range | None = None

    def allocate(self, object_type: ObjectType, size_bits: int, count: int) -> range:
        if self.first is not None and count == 1:
            return self.first
        slots = super().allocate(object_type, size_bits, count)
        self.first = self.first or (slots if count == 1 else None)
        return slots


class Forgetful(Wrong):
    """Frees some things never."""

    freed = 0

    def free(self, slot: int) -> None:
        self.freed += 1
        if self.freed % 7:
            super().free(slot)


class Splitter(Wrong):
    """What was split once is not joined: a small piece is kept in its place."""

    kept = False

    def free(self, slot: int) -> None:
        super().free(slot)
        if not self.kept and self.memory.statistics().free_bytes == 1 << BITS:
            self.memory.allocate(ObjectType.ENDPOINT)
            self.kept = True


class Grabber(Wrong):
    """Takes a slot for each request, refused or not."""

    def allocate(self, object_type: ObjectType, size_bits: int, count: int) -> range:
        try:
            return super().allocate(object_type, size_bits, count)
        except (NotEnoughMemory, OutOfSlots):
            self.task.slots.allocate()
            raise


class Polite(Wrong):
    """Deletes the one capability that it knows."""

    def free(self, slot: int) -> None:
        self.task.cnode.delete(slot)


class Easygoing(Wrong):
    def free(self, slot: int) -> None:
        try:
            super().free(slot)
        except ValueError:
            return


class AtLeastOne(Wrong):
    def allocate(self, object_type: ObjectType, size_bits: int, count: int) -> range:
        return super().allocate(object_type, size_bits, max(count, 1))


class Dreamer(Wrong):
    """Says that all is free."""

    def statistics(self) -> UntypedStatistics:
        return UntypedStatistics(1 << BITS, 1 << BITS, 1 << BITS)


class Blunt(Wrong):
    """Refuses by an error of its own."""

    def allocate(self, object_type: ObjectType, size_bits: int, count: int) -> range:
        try:
            return super().allocate(object_type, size_bits, count)
        except NotEnoughMemory as error:
            raise KernelError(10) from error


WRONG = {
    "ALLOC0001": OneTooFew,
    "ALLOC0002": SameTwice,
    "ALLOC0003": Forgetful,
    "ALLOC0004": Splitter,
    "ALLOC0005": Blunt,
    "ALLOC0006": Polite,
    "ALLOC0007": Easygoing,
    "ALLOC0008": AtLeastOne,
    "ALLOC0009": Grabber,
    "ALLOC0010": Dreamer,
}


@pytest.mark.parametrize("name", ALLOCATOR_CHECKS)
def test_each_check_finds_who_breaks_it(task: Task, name: str) -> None:
    wrong = WRONG[name](task)
    subject = Subject(wrong.allocate, wrong.free, wrong.statistics, task.slots, task.cnode)
    with pytest.raises((AssertionError, NotEnoughMemory)):
        ALLOCATOR_CHECKS[name](subject)


def test_what_failed_is_told_with_its_sentence(task: Task) -> None:
    wrong = Easygoing(task)
    with pytest.raises(AssertionError) as failure:
        check_allocator(Subject(wrong.allocate, wrong.free, wrong.statistics, task.slots, task.cnode))
    assert failure.value.__notes__[0].startswith("ALLOC0007 What does not begin")


def test_a_whole_of_another_size_is_refused(task: Task) -> None:
    memory = UntypedAllocator(task.cnode, task.slots)
    with pytest.raises(AssertionError, match="0 bytes are too few"):
        Subject(memory.allocate, memory.free, memory.statistics, task.slots, task.cnode)
