"""Untyped_Retype: every type and size, where objects lie, what they start as (manual 2.4; sel4test's RETYPE)."""

from __future__ import annotations

import pytest

from kerneld.boot import DeviceRegion
from kerneld.caps import Cap
from kerneld.records import CapType, Tcb, ThreadState
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, ObjectType, Rights
from tests.conformance.scenes import held, is_empty, poll
from tests.harness import Machine

CNODE = InitialSlot.CNODE
FIXED = [ObjectType.TCB, ObjectType.ENDPOINT, ObjectType.NOTIFICATION, ObjectType.REPLY, ObjectType.CHANNEL]
ENDPOINT_BYTES = 1 << abi.FIXED_SIZE_BITS[ObjectType.ENDPOINT]
SIZED = [
    *((ObjectType.UNTYPED, bits) for bits in range(4, 21)),
    *((ObjectType.CNODE, bits) for bits in range(1, 15)),
    *((ObjectType.SCHED_CONTEXT, bits) for bits in range(7, 13)),
    *((ObjectType.FRAME, bits) for bits in range(12, 21)),
    *((ObjectType.VSPACE, bits) for bits in range(12, 21)),
    *((ObjectType.IO_SPACE, bits) for bits in range(12, 21)),
]
EVERY = [*((object_type, 0) for object_type in FIXED), *SIZED]
DEVICE = DeviceRegion(0x1000_0000, 14)


def pool(machine: Machine, size_bits: int) -> int:
    return machine.retype(ObjectType.UNTYPED, size_bits)


def retype(machine: Machine, untyped: int, *words: int, root: int = CNODE) -> tuple[int, tuple[int, ...]]:
    """words: type, size_bits, node_index, node_depth, node_offset, num_objects."""
    return machine.root.invoke(untyped, Label.UNTYPED_RETYPE, words, [root])


def size_of(object_type: ObjectType, bits: int) -> int:
    return 1 << abi.object_size_bits(object_type, bits)


def object_of(machine: Machine, slot: int) -> Cap:
    return held(machine, slot)


@pytest.mark.parametrize(("object_type", "bits"), EVERY)
def test_RETYPE0001_every_type_and_size(machine: Machine, object_type: ObjectType, bits: int) -> None:
    """Every type can be made in every size, and fills its size exactly: two of them fit twice that memory."""
    size = size_of(object_type, bits)
    memory = pool(machine, size.bit_length())
    first = machine.retype(object_type, bits, 2, untyped=memory)
    addresses = [object_of(machine, slot).object for slot in (first, first + 1)]
    assert addresses == [held(machine, memory).object, held(machine, memory).object + size]
    assert held(machine, first).type.name == object_type.name
    refused = retype(machine, memory, object_type, bits, 0, 0, machine.new_slots(), 1)
    assert refused == (Error.NOT_ENOUGH_MEMORY, (0,))


@pytest.mark.parametrize(("object_type", "bits"), [(ObjectType.TCB, 0), (ObjectType.CNODE, 5), (ObjectType.FRAME, 12)])
def test_RETYPE0002_aligned(machine: Machine, object_type: ObjectType, bits: int) -> None:
    """Objects lie aligned to their size behind what was made before, and never overlap it."""
    memory = pool(machine, 14)
    small = machine.retype(ObjectType.ENDPOINT, untyped=memory)
    big = machine.retype(object_type, bits, untyped=memory)
    assert held(machine, big).object % size_of(object_type, bits) == 0
    assert held(machine, big).object >= held(machine, small).object + ENDPOINT_BYTES
    later = machine.retype(ObjectType.ENDPOINT, untyped=memory)
    assert held(machine, later).object == held(machine, big).object + size_of(object_type, bits)


def test_RETYPE0003_fixed_types_ignore_size(machine: Machine) -> None:
    """Types of fixed size ignore size_bits."""
    memory = pool(machine, 12)
    first = machine.retype(ObjectType.TCB, 20, untyped=memory)
    second = machine.retype(ObjectType.TCB, untyped=memory)
    assert held(machine, second).object - held(machine, first).object == Tcb.SIZE


def test_RETYPE0004_many(machine: Machine) -> None:
    """Up to 256 objects are made at once, in consecutive slots."""
    memory = pool(machine, 13)
    first = machine.retype(ObjectType.ENDPOINT, 0, abi.RETYPE_MAX_OBJECTS, untyped=memory)
    start = held(machine, memory).object
    for number in range(abi.RETYPE_MAX_OBJECTS):
        assert held(machine, first + number).object == start + ENDPOINT_BYTES * number


def test_RETYPE0005_bytes_left(machine: Machine) -> None:
    """When the memory does not suffice the error tells the bytes that are left, and nothing is made."""
    memory = pool(machine, 12)
    machine.retype(ObjectType.TCB, untyped=memory)
    slot = machine.new_slots(2)
    assert retype(machine, memory, ObjectType.TCB, 0, 0, 0, slot, 2) == (Error.NOT_ENOUGH_MEMORY, (2048,))
    assert is_empty(machine, slot)
    assert retype(machine, memory, ObjectType.TCB, 0, 0, 0, slot, 1) == (Error.NO_ERROR, ())


def test_RETYPE0006_watermark_only_grows(machine: Machine) -> None:
    """Memory of a deleted object is not used again while another object of the same untyped lives."""
    memory = pool(machine, 7)
    first, second = (machine.retype(ObjectType.NOTIFICATION, untyped=memory) for _ in range(2))
    machine.delete(second)
    slot = machine.new_slots()
    assert retype(machine, memory, ObjectType.NOTIFICATION, 0, 0, 0, slot, 1) == (Error.NOT_ENOUGH_MEMORY, (0,))
    machine.delete(first)
    assert retype(machine, memory, ObjectType.NOTIFICATION, 0, 0, 0, slot, 1) == (Error.NO_ERROR, ())


def test_RETYPE0007_reset_after_revoke(machine: Machine) -> None:
    """After a revoke the whole memory can be retyped again, as another type."""
    memory = pool(machine, 13)
    machine.retype(ObjectType.ENDPOINT, 0, 256, untyped=memory)
    machine.revoke(memory)
    frame = machine.retype(ObjectType.FRAME, 13, untyped=memory)
    assert held(machine, frame).object == held(machine, memory).object


@pytest.mark.parametrize("object_type", [ObjectType.FRAME, ObjectType.CNODE])
def test_RETYPE0008_memory_is_zero(machine: Machine, object_type: ObjectType) -> None:
    """New objects start from zeroed memory, whatever was there before."""
    memory = pool(machine, 14)
    frame = machine.retype(ObjectType.FRAME, 14, untyped=memory)
    machine.ram.poke(held(machine, frame).object, b"secret" * 2000)
    machine.revoke(memory)
    bits = 14 if object_type is ObjectType.FRAME else 9
    made = held(machine, machine.retype(object_type, bits, untyped=memory)).object
    assert machine.ram.read(made, 1 << 14) == bytes(1 << 14)


def test_RETYPE0009_big_reset(machine: Machine) -> None:
    """A reset of much memory is preemptible and ends with the object made."""
    memory = pool(machine, 21)
    machine.retype(ObjectType.FRAME, 21, untyped=memory)
    machine.revoke(memory)
    machine.retype(ObjectType.FRAME, 12, untyped=memory)


def test_RETYPE0010_children_of_the_untyped(machine: Machine) -> None:
    """Objects made from untyped memory in untyped memory belong to both: revoking either destroys them."""
    outer = pool(machine, 13)
    inner = machine.retype(ObjectType.UNTYPED, 12, untyped=outer)
    first = machine.retype(ObjectType.REPLY, untyped=inner)
    machine.revoke(inner)
    assert is_empty(machine, first)
    second = machine.retype(ObjectType.REPLY, untyped=inner)
    machine.revoke(outer)
    assert is_empty(machine, second)
    assert is_empty(machine, inner)


def test_RETYPE0011_destination_below_root(machine: Machine) -> None:
    """(index, depth) name the destination CNode below the root; depth 0 names the root itself."""
    memory, cnode = pool(machine, 10), machine.retype(ObjectType.CNODE, 3)
    assert retype(machine, memory, ObjectType.REPLY, 0, cnode, 64, 2, 3) == (Error.NO_ERROR, ())
    assert retype(machine, memory, ObjectType.REPLY, 0, 12345, 0, 6, 2, root=cnode) == (Error.NO_ERROR, ())
    slot = machine.new_slots()
    for index in (2, 3, 4, 6, 7):
        machine.root.call(CNODE, Label.CNODE_MOVE, (slot, 64, index, 3), [cnode])
        assert held(machine, slot).type is CapType.REPLY
        machine.delete(slot)


@pytest.mark.parametrize(
    ("object_type", "rights"),
    [(ObjectType.ENDPOINT, Rights.ALL), (ObjectType.NOTIFICATION, 3), (ObjectType.REPLY, Rights.ALL)],
)
def test_RETYPE0012_full_rights(machine: Machine, object_type: ObjectType, rights: int) -> None:
    """A new capability has all rights of its type and no badge."""
    cap = held(machine, machine.retype(object_type))
    assert (cap.rights & rights, cap.badge) == (rights, 0)


def test_RETYPE0013_new_tcb(machine: Machine) -> None:
    """A new TCB is inactive, has priority 0, and is in its maker's domain."""
    tcb = Tcb(machine.ram, held(machine, machine.retype(ObjectType.TCB)).object)
    assert (tcb.state, tcb.priority, tcb.mcp) == (ThreadState.INACTIVE, 0, 0)
    machine.root.call(InitialSlot.DOMAIN, Label.DOMAIN_SET, (3,), [InitialSlot.TCB])
    assert Tcb(machine.ram, held(machine, machine.retype(ObjectType.TCB)).object).domain == 3


def test_RETYPE0014_new_notification(machine: Machine) -> None:
    """A new notification has no signals."""
    assert poll(machine, machine.retype(ObjectType.NOTIFICATION)) == 0


def test_RETYPE0015_new_cnode(machine: Machine) -> None:
    """A new CNode has no guard, and all its slots are empty."""
    cap = held(machine, machine.retype(ObjectType.CNODE, 5))
    assert (cap.radix, cap.guard_size, cap.guard) == (5, 0, 0)
    assert machine.ram.read(cap.object, 32 << 5) == bytes(32 << 5)


@pytest.mark.parametrize(("object_type", "bits"), [(ObjectType.FRAME, 12), (ObjectType.UNTYPED, 12)])
def test_RETYPE0016_device(object_type: ObjectType, bits: int) -> None:
    """Device memory can be made into frames and untyped memory, which are of the device then."""
    machine = Machine(devices=(DEVICE,))
    device = machine.boot_info()[abi.BOOT_INFO_UNTYPED]
    made = held(machine, machine.retype(object_type, bits, untyped=device))
    assert made.object == DEVICE.address
    assert made.frame_is_device if object_type is ObjectType.FRAME else made.is_device


@pytest.mark.parametrize("object_type", [*FIXED, ObjectType.CNODE, ObjectType.SCHED_CONTEXT])
def test_RETYPE0017_no_kernel_object_on_a_device(object_type: ObjectType) -> None:
    """Device memory, and untyped memory made from it, hold no kernel objects: InvalidArgument(1)."""
    machine = Machine(devices=(DEVICE,))
    device = machine.boot_info()[abi.BOOT_INFO_UNTYPED]
    child = machine.retype(ObjectType.UNTYPED, 13, untyped=device)
    for memory in (device, child):
        refused = retype(machine, memory, object_type, 7, 0, 0, machine.new_slots(), 1)
        assert refused == (Error.INVALID_ARGUMENT, (1,))


def test_RETYPE0018_device_frame_is_no_buffer() -> None:
    """A frame of device memory cannot be a thread's IPC buffer."""
    machine = Machine(devices=(DEVICE,))
    frame = machine.retype(ObjectType.FRAME, 14, untyped=machine.boot_info()[abi.BOOT_INFO_UNTYPED])
    tcb = machine.retype(ObjectType.TCB)
    refused = machine.root.invoke(tcb, Label.TCB_SET_IPC_BUFFER, (DEVICE.address,), [frame])
    assert refused == (Error.ILLEGAL_OPERATION, ())


def test_RETYPE0019_kernel_allocates_nothing(machine: Machine) -> None:
    """Making and destroying objects leaves the untyped memory as it was."""
    memory = pool(machine, 16)
    for _ in range(3):
        for object_type, bits in ((ObjectType.TCB, 0), (ObjectType.CNODE, 4), (ObjectType.VSPACE, 12)):
            machine.retype(object_type, bits, untyped=memory)
        machine.revoke(memory)
    machine.retype(ObjectType.UNTYPED, 16, untyped=memory)
