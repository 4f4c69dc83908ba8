"""Slot and memory allocators, batches, BootInfo."""

from __future__ import annotations

import random
import struct

import pytest

from libsel4py import abi
from libsel4py.abi import Error, Label, ObjectType, Rights
from libsel4py.capabilities import TCB, CNode, Untyped
from libsel4py.environment import Slot
from libsel4py.errors import DeleteFirst, IllegalOperation, NotEnoughMemory
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.cspace import OutOfSlots, SlotAllocator, SlotStatistics
from libsel4py.lowlevel.untyped import UntypedAllocator
from libsel4py.testing import TestSystem
from libsel4py.testing.fake_objects import FakeEndpoint, FakeObject, FakeUntyped


def test_slots_are_given_out_once_and_lowest_first() -> None:
    slots = SlotAllocator(16, 8, taken=[17])
    assert [slots.allocate() for _ in range(7)] == [16, 18, 19, 20, 21, 22, 23]
    with pytest.raises(OutOfSlots, match=r"0 free in all"):
        slots.allocate()


def test_ranges_skip_gaps_that_are_too_small() -> None:
    slots = SlotAllocator(0, 16, taken=[2, 5])
    assert slots.allocate_range(3) == range(6, 9)
    assert slots.allocate_range(2) == range(2)
    with pytest.raises(OutOfSlots, match=r"no 8 free slots in a row among 0..15 \(9 free in all\)"):
        slots.allocate_range(8)
    slots.free_range(range(6, 9))
    assert slots.allocate_range(10) == range(6, 16)


def test_double_frees_and_strange_slots_are_refused() -> None:
    slots = SlotAllocator(16, 4)
    taken = slots.allocate()
    slots.free(taken)
    with pytest.raises(ValueError, match="slot 16 was freed twice"):
        slots.free(taken)
    with pytest.raises(ValueError, match=r"slot 20 is not among 16..19"):
        slots.free(20)
    with pytest.raises(ValueError, match="freed twice"):
        slots.free_range(range(16, 18))
    with pytest.raises(ValueError, match="ask for 1 or more"):
        slots.allocate_range(0)
    with pytest.raises(ValueError, match="in use already"):
        SlotAllocator(0, 4, taken=[1, 1])
    assert slots.free_count == 4


def test_random_slot_use_agrees_with_a_set() -> None:
    chooser = random.Random(5)
    slots = SlotAllocator(10, 200)
    held: list[range] = []
    free = set(range(10, 210))
    for _ in range(2000):
        if held and chooser.random() < 0.5:
            gone = held.pop(chooser.randrange(len(held)))
            slots.free_range(gone)
            free |= set(gone)
        else:
            count = chooser.randint(1, 9)
            starts = [each for each in sorted(free) if set(range(each, each + count)) <= free]
            if starts:
                assert slots.allocate_range(count).start == starts[0]
                held.append(range(starts[0], starts[0] + count))
                free -= set(held[-1])
            else:
                with pytest.raises(OutOfSlots):
                    slots.allocate_range(count)
        assert slots.free_count == len(free)
        longest = 0
        while any(set(range(start, start + longest + 1)) <= free for start in free):
            longest += 1
        assert slots.statistics() == SlotStatistics(200, len(free), longest)


def _allocator(fake: TestSystem, bits: int = 16) -> UntypedAllocator:
    allocator = UntypedAllocator(fake.first_task.cnode, fake.slots)
    allocator.add(Untyped(fake.new(FakeUntyped(bits))), bits)
    return allocator


def test_memory_is_split_and_joined_again(fake: TestSystem) -> None:
    allocator = _allocator(fake)
    slots_before, caps_before = fake.slots.free_count, dict(fake.kernel.objects.caps)
    endpoint = allocator.allocate(ObjectType.ENDPOINT).start
    assert isinstance(fake.kernel.objects.caps[endpoint].object, FakeEndpoint)
    assert allocator.statistics().free_bytes == (1 << 16) - (1 << abi.FIXED_SIZE_BITS[ObjectType.ENDPOINT])
    tcbs = allocator.allocate(ObjectType.TCB, count=3)
    assert len(tcbs) == 3
    allocator.free(endpoint)
    allocator.free(tcbs.start)
    statistics = allocator.statistics()
    assert (statistics.free_bytes, statistics.largest_free_bytes) == (1 << 16, 1 << 16)
    assert fake.slots.free_count == slots_before
    assert fake.kernel.objects.caps == caps_before
    assert allocator.allocate(ObjectType.UNTYPED, 16).start


def test_random_memory_use_never_loses_a_byte(fake: TestSystem) -> None:
    chooser = random.Random(11)
    allocator = _allocator(fake, 18)
    held: list[int] = []
    for _ in range(400):
        if held and chooser.random() < 0.45:
            allocator.free(held.pop(chooser.randrange(len(held))))
            continue
        kind = chooser.choice([ObjectType.ENDPOINT, ObjectType.TCB, ObjectType.CNODE, ObjectType.FRAME])
        size = {ObjectType.CNODE: 4, ObjectType.FRAME: 13}.get(kind, 0)
        count = chooser.randint(1, 5)
        needed = abi.object_size_bits(kind, size) + (count - 1).bit_length()
        left = allocator.statistics().largest_free_bytes
        if left >= 1 << needed:
            held.append(allocator.allocate(kind, size, count).start)
            continue
        with pytest.raises(NotEnoughMemory, match="need one block") as caught:
            allocator.allocate(kind, size, count)
        assert caught.value.bytes_left == left
    for slot in held:
        allocator.free(slot)
    assert allocator.statistics().largest_free_bytes == 1 << 18


def test_an_object_is_made_anew_in_its_place_and_of_its_memory(fake: TestSystem) -> None:
    memory = _allocator(fake)
    alone, several = memory.allocate(ObjectType.TCB).start, memory.allocate(ObjectType.ENDPOINT, count=2)
    former, before = fake.kernel.objects.caps[alone].object, memory.statistics()
    with Batch() as batch:
        memory.queue_renewal(batch, alone, ObjectType.TCB)
    assert fake.kernel.objects.caps[alone].object is not former
    assert memory.statistics() == before
    with Batch() as batch:
        for slot in (several.start, several.start + 1, 4000):
            with pytest.raises(ValueError, match="holds no object that was allocated alone"):
                memory.queue_renewal(batch, slot, ObjectType.ENDPOINT)
    memory.free(alone)


def test_a_refused_retype_changes_nothing(fake: TestSystem) -> None:
    allocator = _allocator(fake)
    slots_before, caps_before = fake.slots.free_count, set(fake.kernel.objects.caps)
    fake.kernel.objects.refuse(Label.UNTYPED_RETYPE, Error.ILLEGAL_OPERATION)
    for size_bits in (16, 12):  # at once, and while splitting
        with pytest.raises(IllegalOperation):
            allocator.allocate(ObjectType.FRAME, size_bits)
    fake.kernel.objects.refuse(Label.UNTYPED_RETYPE, Error.NO_ERROR)
    assert (fake.slots.free_count, set(fake.kernel.objects.caps)) == (slots_before, caps_before)
    assert allocator.allocate(ObjectType.FRAME, 16).start


def test_more_objects_than_one_retype_may_make(fake: TestSystem) -> None:
    allocator = _allocator(fake)
    slots = allocator.allocate(ObjectType.ENDPOINT, count=600)
    assert len(slots) == 600
    retypes = [words[5] for _, label, words, _ in fake.kernel.objects.invocations if label is Label.UNTYPED_RETYPE]
    assert retypes[-3:] == [256, 256, 88]
    allocator.free(slots.start)
    with pytest.raises(ValueError, match="freed already"):
        allocator.free(slots.start)


def test_a_batch_traps_once_and_answers_each(fake: TestSystem) -> None:
    cnode = fake.first_task.cnode
    source = fake.new(FakeEndpoint())
    with Batch() as batch:
        copies = [batch.queue(cnode.copy, 1000 + index, cnode, source, Rights.READ) for index in range(70)]
        assert fake.kernel.objects.invocations == []
        with pytest.raises(RuntimeError, match="leave the batch"):
            copies[0].result()
    assert [copy.result() for copy in copies] == [None] * 70
    assert {1000, 1069} <= set(fake.kernel.objects.caps)


def test_a_batch_types_results_and_reports_refusals(fake: TestSystem) -> None:
    cnode, tcb = fake.first_task.cnode, TCB(fake.new(FakeObject("TCB")))
    fake.kernel.objects.results[Label.TCB_SET_FLAGS] = (3,)
    batch = Batch(check=False)
    refused = batch.queue(cnode.copy, Slot.CNODE, cnode, Slot.POOL)
    flags = batch.queue(tcb.set_flags, clear=0, set=3)
    batch.submit()
    assert isinstance(refused.error(), DeleteFirst)
    with pytest.raises(DeleteFirst):
        refused.result()
    assert flags.result() == 3
    checked = Batch()
    checked.queue(tcb.suspend)
    checked.queue(cnode.copy, Slot.CNODE, cnode, Slot.POOL)
    with pytest.raises(DeleteFirst) as caught:
        checked.submit()
    assert caught.value.__notes__ == ["entry 1 of 2 in a batch; the entries behind it were executed"]


def test_what_does_not_fit_a_batch_is_refused(fake: TestSystem) -> None:
    tcb = TCB(fake.new(FakeObject("TCB")))
    with Batch() as batch:
        with pytest.raises(ValueError, match="call it outside of the batch"):
            batch.queue(tcb.write_registers, 0, range(20))
        with pytest.raises(ValueError, match="no kernel invocation"):
            batch.queue(len, "abc")
    abandoned = Batch()
    abandoned.queue(tcb.suspend)
    abandoned.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    abandoned.submit()
    assert fake.kernel.objects.invocations == []


def _boot_info(extra: bytes = b"", **words: int) -> bytes:
    table = [0] * abi.BOOT_INFO_EXTRA
    table[abi.BOOT_INFO_EXTRA_BYTES] = len(extra)
    table[abi.BOOT_INFO_CNODE_BITS] = 12
    table[abi.BOOT_INFO_EMPTY : abi.BOOT_INFO_EMPTY + 2] = [20, 4096]
    table[abi.BOOT_INFO_UNTYPED : abi.BOOT_INFO_UNTYPED + 2] = [18, 20]
    table[abi.BOOT_INFO_UNTYPED_LIST : abi.BOOT_INFO_UNTYPED_LIST + 4] = [0x100000, 20, 0xFE000000, 12 | 1 << 8]
    for name, value in words.items():
        table[int(name[1:])] = value
    return struct.pack(f"<{len(table)}Q", *table) + extra


def test_boot_info_is_parsed() -> None:
    description = b"the description"
    size = 16 + len(description)
    extra = struct.pack("<2Q", abi.BOOT_INFO_EXTRA_SYSTEM, size) + description + bytes(-size % 8)
    info = bootinfo.parse(_boot_info(extra))
    assert (info.empty, info.cnode_bits) == (range(20, 4096), 12)
    assert info.untyped[0] == bootinfo.UntypedDescription(Untyped(18), 0x100000, 20, False)
    assert info.untyped[1].is_device
    assert info.untyped[1].size_bits == 12
    assert info.system_description == description


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "its fixed part alone needs"),
        (_boot_info(w4=30, w5=20), "region empty ends at slot 20"),
        (_boot_info(w11=400), "lists 382 untypeds"),
        (_boot_info(w0=64), "announces 64 extra bytes"),
        (_boot_info(struct.pack("<2Q", 5, 3)), "claims 3 bytes"),
        (_boot_info(struct.pack("<2Q", 5, 99)), "claims 99 bytes"),
    ],
)
def test_impossible_boot_info_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        bootinfo.parse(data)


def test_slots_of_other_cnodes_need_their_own_allocator(fake: TestSystem) -> None:
    with pytest.raises(ValueError, match="size_bits 3 is not in"):
        UntypedAllocator(CNode(2), fake.slots).add(Untyped(9), 3)
