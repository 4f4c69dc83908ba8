"""Retype: order of checks, error payloads, placement, and the reset of childless memory."""

import time
from collections.abc import Sequence

import pytest

from kerneld import caps
from kerneld.boot import DeviceRegion
from kerneld.objects import untyped
from kerneld.records import CapType, SchedContext, Tcb, VSpace
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, LookupFailureKind, ObjectType
from tests.harness import Machine

CNODE = InitialSlot.CNODE
LAST_SLOT = (1 << abi.INITIAL_CNODE_BITS) - 1  # of the initial task's CNode
SIZES = {ObjectType.CNODE: 3, ObjectType.UNTYPED: 13, ObjectType.SCHED_CONTEXT: 8} | {
    ObjectType.FRAME: 12,
    ObjectType.VSPACE: 13,
    ObjectType.IO_SPACE: 14,
}
CAP_TYPES = {
    ObjectType.UNTYPED: CapType.UNTYPED,
    ObjectType.TCB: CapType.TCB,
    ObjectType.ENDPOINT: CapType.ENDPOINT,
    ObjectType.NOTIFICATION: CapType.NOTIFICATION,
    ObjectType.CNODE: CapType.CNODE,
    ObjectType.SCHED_CONTEXT: CapType.SCHED_CONTEXT,
    ObjectType.REPLY: CapType.REPLY,
    ObjectType.FRAME: CapType.FRAME,
    ObjectType.VSPACE: CapType.VSPACE,
    ObjectType.CHANNEL: CapType.CHANNEL,
    ObjectType.IO_SPACE: CapType.IO_SPACE,
    ObjectType.DEATH_NOTICE: CapType.DEATH_NOTICE,
}
ENDPOINT_BYTES = 1 << abi.FIXED_SIZE_BITS[ObjectType.ENDPOINT]


def refuse(
    machine: Machine, words: Sequence[int], root: int = CNODE, memory: int | None = None
) -> tuple[Error, tuple[int, ...]]:
    cptr = machine.untyped if memory is None else memory
    error, payload = machine.root.invoke(cptr, Label.UNTYPED_RETYPE, words, [root])
    assert error != Error.NO_ERROR
    return Error(error), payload


def wrong(machine: Machine, **changes: int) -> list[int]:
    """The words of a Retype that would work but for the changes."""
    good = {"type": ObjectType.ENDPOINT, "size": 0, "index": 0, "depth": 0, "offset": machine.next_slot, "count": 1}
    return list((good | changes).values())


def test_the_unchanged_words_work(machine: Machine) -> None:
    machine.root.call(machine.untyped, Label.UNTYPED_RETYPE, wrong(machine), [CNODE])


def test_checks_come_in_the_order_of_the_manual(machine: Machine) -> None:
    """Each message has this fault and every later one."""
    everything = {"type": len(ObjectType), "size": 40, "index": 1 << 20, "depth": 60, "offset": 1 << 40, "count": 0}
    invoke = machine.root.invoke
    words = wrong(machine, **everything)
    assert invoke(machine.untyped, Label.TCB_RESUME, words[:5])[0] == Error.ILLEGAL_OPERATION
    assert invoke(machine.untyped, Label.UNTYPED_RETYPE, words[:5], [CNODE])[0] == Error.TRUNCATED_MESSAGE
    assert invoke(machine.untyped, Label.UNTYPED_RETYPE, words)[0] == Error.TRUNCATED_MESSAGE
    assert refuse(machine, words) == (Error.INVALID_ARGUMENT, (0,))
    everything["type"] = ObjectType.CNODE
    assert refuse(machine, wrong(machine, **everything)) == (Error.RANGE_ERROR, (0, abi.UNTYPED_MAX_BITS))
    everything["size"] = 0
    assert refuse(machine, wrong(machine, **everything)) == (Error.INVALID_ARGUMENT, (1,))
    everything["size"] = 30
    guard = (Error.FAILED_LOOKUP, (0, LookupFailureKind.GUARD_MISMATCH, 60, 0, 64 - abi.INITIAL_CNODE_BITS))
    assert refuse(machine, wrong(machine, **everything)) == guard
    everything |= {"index": InitialSlot.TCB, "depth": 64}
    missing = (Error.FAILED_LOOKUP, (0, LookupFailureKind.MISSING_CAPABILITY, 64))
    assert refuse(machine, wrong(machine, **everything)) == missing
    everything |= {"index": CNODE}
    assert refuse(machine, wrong(machine, **everything)) == (Error.RANGE_ERROR, (0, LAST_SLOT))
    everything |= {"offset": LAST_SLOT}
    assert refuse(machine, wrong(machine, **everything)) == (Error.RANGE_ERROR, (1, 256))
    everything |= {"count": 2}
    assert refuse(machine, wrong(machine, **everything)) == (Error.RANGE_ERROR, (1, 1))
    everything |= {"offset": machine.next_slot - 2}
    assert refuse(machine, wrong(machine, **everything)) == (Error.DELETE_FIRST, ())
    everything |= {"offset": machine.next_slot}
    error, payload = refuse(machine, wrong(machine, **everything))
    memory = caps.read(machine.slot(machine.untyped))
    assert (error, payload) == (Error.NOT_ENOUGH_MEMORY, ((1 << memory.size_bits) - memory.free_index,))


@pytest.mark.parametrize("count", [0, 257, 1 << 63])
def test_count(machine: Machine, count: int) -> None:
    assert refuse(machine, wrong(machine, count=count)) == (Error.RANGE_ERROR, (1, 256))


@pytest.mark.parametrize(
    ("kind", "smallest", "largest"),
    [
        (ObjectType.CNODE, 1, abi.UNTYPED_MAX_BITS - abi.SLOT_BITS),
        (ObjectType.UNTYPED, 4, abi.UNTYPED_MAX_BITS),
        (ObjectType.SCHED_CONTEXT, 7, abi.UNTYPED_MAX_BITS),
        (ObjectType.FRAME, 12, 30),
        (ObjectType.VSPACE, 12, 38),
        (ObjectType.IO_SPACE, 12, 30),
    ],
)
def test_sizes(machine: Machine, kind: ObjectType, smallest: int, largest: int) -> None:
    assert refuse(machine, wrong(machine, type=kind, size=smallest - 1)) == (Error.INVALID_ARGUMENT, (1,))
    if kind in (ObjectType.FRAME, ObjectType.VSPACE, ObjectType.IO_SPACE):
        assert refuse(machine, wrong(machine, type=kind, size=largest + 1)) == (Error.INVALID_ARGUMENT, (1,))
    assert refuse(machine, wrong(machine, type=kind, size=largest))[0] == Error.NOT_ENOUGH_MEMORY
    for size in (abi.UNTYPED_MAX_BITS + 1, 64, 1 << 63):
        assert refuse(machine, wrong(machine, type=kind, size=size)) == (Error.RANGE_ERROR, (0, abi.UNTYPED_MAX_BITS))
    machine.retype(kind, smallest)


@pytest.mark.parametrize("kind", list(ObjectType))
def test_every_type_makes_aligned_objects_with_full_capabilities(machine: Machine, kind: ObjectType) -> None:
    size = SIZES.get(kind, 0)
    machine.retype(ObjectType.ENDPOINT)
    first = machine.retype(kind, size, count=3)
    bytes_each = 1 << abi.object_size_bits(kind, size)
    addresses = [machine.slot(first + number).object for number in range(3)]
    assert addresses == [addresses[0] + number * bytes_each for number in range(3)]
    assert addresses[0] % bytes_each == 0
    for number in range(3):
        slot = machine.slot(first + number)
        assert slot.cap_type == CAP_TYPES[kind]
        assert slot.revocable
        assert slot.first_badged
    memory = caps.read(machine.slot(machine.untyped))
    assert memory.object + memory.free_index == addresses[2] + bytes_each


def test_records_know_what_they_were_made_with(machine: Machine) -> None:
    context = SchedContext(machine.ram, machine.slot(machine.retype(ObjectType.SCHED_CONTEXT, 9)).object)
    space = VSpace(machine.ram, machine.slot(machine.retype(ObjectType.VSPACE, 14)).object)
    thread = Tcb(machine.ram, machine.slot(machine.retype(ObjectType.TCB)).object)
    assert (context.size_bits, context.refill_max) == (9, 0)
    assert space.size_bits == 14
    assert thread.domain == machine.root.tcb.domain


def test_capabilities_of_new_objects() -> None:
    machine = Machine()
    endpoint = caps.read(machine.slot(machine.retype(ObjectType.ENDPOINT)))
    assert (endpoint.rights, endpoint.badge) == (15, 0)
    table = caps.read(machine.slot(machine.retype(ObjectType.CNODE, 5)))
    assert (table.radix, table.guard, table.guard_size) == (5, 0, 0)
    memory = caps.read(machine.slot(machine.retype(ObjectType.UNTYPED, 12)))
    assert (memory.size_bits, memory.free_index, memory.is_device) == (12, 0, False)


def test_all_of_the_memory_can_be_used(machine: Machine) -> None:
    memory = machine.retype(ObjectType.UNTYPED, 13)
    machine.retype(ObjectType.ENDPOINT, count=256, untyped=memory)
    assert refuse(machine, wrong(machine), memory=memory) == (Error.NOT_ENOUGH_MEMORY, (0,))


def test_what_fits_also_fits_aligned(machine: Machine) -> None:
    memory = machine.retype(ObjectType.UNTYPED, 12)
    machine.retype(ObjectType.ENDPOINT, untyped=memory)
    assert refuse(machine, wrong(machine, type=ObjectType.TCB, count=2), memory=memory) == (
        Error.NOT_ENOUGH_MEMORY,
        (4096 - ENDPOINT_BYTES,),
    )
    made = machine.retype(ObjectType.TCB, untyped=memory)
    assert machine.slot(made).object == machine.slot(memory).object + 2048


def test_a_destination_below_the_root(machine: Machine) -> None:
    table = machine.retype(ObjectType.CNODE, 3)
    words = (ObjectType.ENDPOINT, 0, table, 64, 6, 2)
    machine.root.call(machine.untyped, Label.UNTYPED_RETYPE, words, [CNODE])
    held = [machine.ram.word(machine.slot(table).object + 32 * number) >> 59 for number in range(8)]
    assert held == [0] * 6 + [CapType.ENDPOINT] * 2
    assert refuse(machine, (ObjectType.ENDPOINT, 0, table, 64, 8, 1)) == (Error.RANGE_ERROR, (0, 7))


def test_memory_is_used_again_when_nothing_is_left(machine: Machine) -> None:
    memory = machine.retype(ObjectType.UNTYPED, 14)
    table = machine.retype(ObjectType.CNODE, 8, untyped=memory)
    words = (3, 8, InitialSlot.TCB, 64, 15)
    machine.root.call(table, Label.CNODE_COPY, words, [CNODE])
    machine.delete(table)
    assert machine.slot(memory).word1 == 1 << 13
    again = machine.retype(ObjectType.CNODE, 9, untyped=memory)
    assert machine.slot(again).object == machine.slot(memory).object
    assert not any(machine.ram.read(machine.slot(again).object, 1 << 14))


def test_one_child_keeps_the_watermark(machine: Machine) -> None:
    memory = machine.retype(ObjectType.UNTYPED, 12)
    machine.retype(ObjectType.ENDPOINT, untyped=memory)
    gone = machine.retype(ObjectType.ENDPOINT, untyped=memory)
    machine.delete(gone)
    third = machine.retype(ObjectType.ENDPOINT, untyped=memory)
    assert machine.slot(third).object == machine.slot(memory).object + 2 * ENDPOINT_BYTES


def test_an_error_neither_resets_nor_takes_memory(machine: Machine) -> None:
    memory = machine.retype(ObjectType.UNTYPED, 12)
    machine.delete(machine.retype(ObjectType.ENDPOINT, count=1, untyped=memory))
    assert refuse(machine, wrong(machine, type=ObjectType.FRAME, size=13), memory=memory) == (
        Error.NOT_ENOUGH_MEMORY,
        (4096,),
    )
    assert machine.slot(memory).word1 == ENDPOINT_BYTES


def test_a_long_reset_lets_others_run() -> None:
    """32 MiB take several transactions; in between, RAM is sound and another thread's system call is carried out."""
    machine = Machine(256 << 20)
    other = machine.thread("other")
    memory = machine.retype(ObjectType.UNTYPED, 25)
    frame = machine.retype(ObjectType.FRAME, 25, untyped=memory)
    start = machine.slot(memory).object
    machine.ram.poke(start, b"used")
    machine.ram.poke(start + (1 << 25) - 8, b"used too")
    machine.delete(frame)
    words = wrong(machine)
    machine.root.submit(abi.Syscall.CALL, memory, abi.message_info(Label.UNTYPED_RETYPE, 6, 1), words, caps=[CNODE])
    assert machine.kernel.take(machine.root.tcb)
    machine.settle()
    assert machine.slot(memory).word1 == (1 << 25) - 2 * untyped.RESET_CHUNK
    assert machine.root.completion() is None
    other.submit(abi.Syscall.YIELD)
    assert machine.kernel.take(other.tcb)
    machine.settle()
    assert other.completion() is not None
    machine.run()
    done = machine.root.completion()
    assert done is not None
    assert done.label == Error.NO_ERROR
    assert machine.slot(memory).word1 == ENDPOINT_BYTES
    assert machine.ram.read(start + (1 << 25) - 8, 8) == bytes(8)


def test_a_transaction_of_a_reset_is_not_much_longer_than_one_of_a_revocation() -> None:
    """Others wait for one or the other. The least of each is compared: what the host does meanwhile is in neither."""
    machine = Machine(256 << 20, check=False)
    memory = machine.retype(ObjectType.UNTYPED, 25)
    frame = machine.retype(ObjectType.FRAME, 25, untyped=memory)
    machine.ram.poke(machine.slot(memory).object, bytes([1]) * (1 << 25))
    machine.delete(frame)
    notification = machine.retype(ObjectType.NOTIFICATION)
    for badge in range(1, 500):
        machine.copy(notification, badge=badge)
    reset = _least(machine, memory, Label.UNTYPED_RETYPE, wrong(machine))
    assert reset < 3 * _least(machine, CNODE, Label.CNODE_REVOKE, (notification, abi.WORD_BITS))


def _least(machine: Machine, cptr: int, label: Label, words: Sequence[int]) -> int:
    """Nanoseconds of the shortest transaction, but for the last, of a system call of the initial task's."""
    took: list[int] = []
    machine.root.submit(abi.Syscall.CALL, cptr, abi.message_info(label, len(words), 1), words, caps=[CNODE])
    while machine.root.completion() is None:
        began = time.thread_time_ns()
        _ = machine.kernel.continue_one() if took else machine.kernel.take(machine.root.tcb)
        took.append(time.thread_time_ns() - began)
        machine.settle()
    return min(took[:-1])


DEVICE = DeviceRegion(0x8000_0000, 14)


def test_device_memory_gives_frames_and_untyped_only() -> None:
    machine = Machine(devices=(DEVICE,))
    device = machine.boot_info()[abi.BOOT_INFO_UNTYPED]
    for kind in ObjectType:
        if kind not in (ObjectType.UNTYPED, ObjectType.FRAME):
            words = wrong(machine, type=kind, size=min(SIZES.get(kind, 0), 12))
            assert refuse(machine, words, memory=device) == (Error.INVALID_ARGUMENT, (1,)), kind
    part = machine.retype(ObjectType.UNTYPED, 13, untyped=device)
    assert caps.read(machine.slot(part)).is_device
    frame = machine.retype(ObjectType.FRAME, 12, untyped=part)
    cap = caps.read(machine.slot(frame))
    assert (cap.object, cap.frame_is_device) == (DEVICE.address, True)


def test_device_memory_is_used_again_untouched() -> None:
    machine = Machine(devices=(DEVICE,))
    device = machine.boot_info()[abi.BOOT_INFO_UNTYPED]
    machine.delete(machine.retype(ObjectType.FRAME, 13, untyped=device))
    again = machine.retype(ObjectType.FRAME, 14, untyped=device)
    assert machine.slot(again).object == DEVICE.address
