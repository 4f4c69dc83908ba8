"""IOSpaces: assigned to devices, frames mapped in them, and what a device sees from then on until it ends."""

from __future__ import annotations

import pytest

from hw.iommu import DmaFault, DmaPort, FaultKind, Iommu, Span
from kerneld import caps, explain, inspection, mapping_table
from kerneld.boot import DeviceRegion
from kerneld.objects import io_space
from kerneld.outbox import Tell
from kerneld.records import CapType, IoSpace
from libsel4py import abi
from libsel4py.abi import IO_MAPPING_END, Error, InitialSlot, Label, ObjectType, Rights
from tests.harness import Machine
from tests.mapping_scene import MappingScene

CONTROL = InitialSlot.IO_SPACE
DEVICES = 2  # the harness's machine has that many
PAGE = 4096
AT = 0x40_0000
READ_WRITE = Rights.READ | Rights.WRITE
DONE = (Error.NO_ERROR, ())


def assign(machine: Machine, device: int, space: int) -> tuple[int, tuple[int, ...]]:
    return machine.root.invoke(CONTROL, Label.IO_SPACE_CONTROL_ASSIGN, (device,), [space])


def map_io(
    machine: Machine, frame: int, space: int, address: int = AT, rights: int = READ_WRITE
) -> tuple[int, tuple[int, ...]]:
    return machine.root.invoke(frame, Label.FRAME_MAP_IO, (rights, address), [space])


def mapped(machine: Machine, space: int, address: int = AT, size_bits: int = 12, rights: int = READ_WRITE) -> int:
    """The slot of a new frame's capability, which is mapped for the device."""
    frame = machine.retype(ObjectType.FRAME, size_bits)
    assert map_io(machine, frame, space, address, rights) == DONE
    return frame


def sees(machine: Machine, address: int = AT, device: int = 0) -> Span | None:
    return io_space.translate(machine.ram, device, address)


def record(machine: Machine, space: int) -> IoSpace:
    return IoSpace(machine.ram, machine.slot(space).object)


@pytest.fixture
def space(machine: Machine) -> int:
    return machine.retype(ObjectType.IO_SPACE, abi.IO_SPACE_MIN_BITS)


def test_an_io_space_is_a_table_as_large_as_itself(machine: Machine) -> None:
    space = record(machine, machine.retype(ObjectType.IO_SPACE, 14))
    assert (space.size_bits, space.table_bytes, space.device) == (14, 1 << 14, None)
    assert space.mapping_capacity == ((1 << 14) - IoSpace.NODES) // 32


def test_assign_says_so_on_both_sides(machine: Machine, space: int) -> None:
    assert assign(machine, 1, space) == (Error.NO_ERROR, ())
    kernel = machine.kernel.core.kernel
    assert record(machine, space).device == 1
    assert kernel.io_space(1) == record(machine, space)
    assert kernel.io_space(0) is None


def test_assign_checks_in_order(machine: Machine, space: int) -> None:
    """Each call has this fault and every later one."""
    invoke = machine.root.invoke
    other = machine.retype(ObjectType.IO_SPACE, 12)
    assert invoke(CONTROL, Label.IRQ_CONTROL_GET)[0] == Error.ILLEGAL_OPERATION
    assert invoke(space, Label.IO_SPACE_CONTROL_ASSIGN, (0,), [space])[0] == Error.ILLEGAL_OPERATION
    assert invoke(CONTROL, Label.IO_SPACE_CONTROL_ASSIGN, (), [InitialSlot.TCB])[0] == Error.TRUNCATED_MESSAGE
    assert invoke(CONTROL, Label.IO_SPACE_CONTROL_ASSIGN, (DEVICES,))[0] == Error.TRUNCATED_MESSAGE
    assert assign(machine, DEVICES, InitialSlot.VSPACE) == (Error.INVALID_CAPABILITY, (1,))
    assert assign(machine, 0, space) == (Error.NO_ERROR, ())
    assert assign(machine, DEVICES, space) == (Error.RANGE_ERROR, (0, DEVICES - 1))
    assert assign(machine, abi.WORD_MASK, space) == (Error.RANGE_ERROR, (0, DEVICES - 1))
    assert assign(machine, 1, space) == (Error.DELETE_FIRST, ())
    assert assign(machine, 0, space) == (Error.DELETE_FIRST, ())
    assert assign(machine, 0, other) == (Error.DELETE_FIRST, ())
    assert assign(machine, 1, other) == (Error.NO_ERROR, ())


def test_a_machine_without_devices_has_none_to_assign() -> None:
    machine = Machine(device_count=0)
    space = machine.retype(ObjectType.IO_SPACE, 12)
    assert assign(machine, 0, space) == (Error.RANGE_ERROR, (0, 0))
    assert "the machine has no devices" in explain.last_refusal(machine.kernel.core, machine.root.tcb)


def test_the_pair_ends_with_the_last_capability(machine: Machine, space: int) -> None:
    copy = machine.copy(space)
    assign(machine, 0, space)
    machine.delete(space)
    assert machine.kernel.core.kernel.io_space(0) is not None
    machine.delete(copy)
    assert machine.kernel.core.kernel.io_space(0) is None
    assert assign(machine, 0, machine.retype(ObjectType.IO_SPACE, 12))[0] == Error.NO_ERROR


def test_revoking_the_memory_ends_the_pair(machine: Machine) -> None:
    memory = machine.retype(ObjectType.UNTYPED, 14)
    assign(machine, 0, machine.retype(ObjectType.IO_SPACE, 12, untyped=memory))
    machine.revoke(memory)
    assert machine.kernel.core.kernel.io_space(0) is None


def test_the_control_capability_is_not_copied_and_moves(machine: Machine, space: int) -> None:
    place = machine.new_slots()
    words = (place, abi.WORD_BITS, CONTROL, abi.WORD_BITS)
    invoke = machine.root.invoke
    refused = invoke(InitialSlot.CNODE, Label.CNODE_COPY, (*words, abi.Rights.ALL), [InitialSlot.CNODE])[0]
    assert refused == Error.ILLEGAL_OPERATION
    assert invoke(InitialSlot.CNODE, Label.CNODE_MOVE, words, [InitialSlot.CNODE])[0] == Error.NO_ERROR
    assert machine.slot(place).cap_type == CapType.IO_SPACE_CONTROL
    assert invoke(place, Label.IO_SPACE_CONTROL_ASSIGN, (0,), [space])[0] == Error.NO_ERROR


@pytest.mark.parametrize("device", [-1, 0, 1, DEVICES, 99])
def test_a_device_without_an_io_space_sees_nothing(machine: Machine, device: int) -> None:
    assert io_space.translate(machine.ram, device, 0) is None


def test_map_io_is_in_the_table_and_in_the_capability_and_nobody_is_told(machine: Machine, space: int) -> None:
    machine.tells.clear()
    frame = mapped(machine, space, AT, 13)
    slot = machine.slot(frame)
    assert list(mapping_table.walk(record(machine, space))) == [(AT, 13, READ_WRITE, 0, slot.address)]
    cap = caps.read(slot)
    where = (cap.mapped_space, cap.mapped_address, cap.is_mapped_by_io)
    assert where == (record(machine, space).address, AT, True)
    machine.root.call(frame, Label.FRAME_UNMAP)
    assert list(mapping_table.walk(record(machine, space))) == []
    assert not caps.read(slot).is_mapped
    assert [told for told in machine.tells if told.kind in (Tell.MAP, Tell.UNMAP)] == []


def test_map_io_checks_in_order() -> None:
    """Each call has this fault and every later one."""
    machine = Machine(devices=(DeviceRegion(0x1000_0000, 14),))
    invoke = machine.root.invoke
    space, vspace = machine.retype(ObjectType.IO_SPACE, 12), machine.retype(ObjectType.VSPACE, 12)
    big = machine.retype(ObjectType.FRAME, 14)
    none = machine.copy(big, 0)
    registers = machine.retype(ObjectType.FRAME, 14, untyped=machine.boot_info()[abi.BOOT_INFO_UNTYPED])
    everything = (0, IO_MAPPING_END - PAGE)
    taken = mapped(machine, space, 0)
    assert invoke(big, Label.FRAME_MAP_IO, everything[:1], [vspace])[0] == Error.TRUNCATED_MESSAGE
    assert invoke(big, Label.FRAME_MAP_IO, everything)[0] == Error.TRUNCATED_MESSAGE
    assert invoke(taken, Label.FRAME_MAP_IO, everything, [vspace]) == (Error.INVALID_CAPABILITY, (0,))
    assert invoke(registers, Label.FRAME_MAP_IO, everything, [vspace]) == (Error.INVALID_CAPABILITY, (0,))
    assert invoke(big, Label.FRAME_MAP_IO, everything, [vspace]) == (Error.INVALID_CAPABILITY, (1,))
    for address in (IO_MAPPING_END - PAGE, IO_MAPPING_END, abi.WORD_MASK - PAGE + 1):
        assert map_io(machine, big, space, address, 0) == (Error.INVALID_ARGUMENT, (1,))
    assert map_io(machine, big, space, PAGE, 0) == (Error.ALIGNMENT_ERROR, ())
    assert map_io(machine, big, space, 0, 0) == (Error.DELETE_FIRST, ())
    assert map_io(machine, big, space, 1 << 14, 0) == (Error.INVALID_ARGUMENT, (0,))
    assert map_io(machine, none, space, 1 << 14) == (Error.INVALID_ARGUMENT, (0,))
    assert map_io(machine, big, space, IO_MAPPING_END - (1 << 14)) == DONE


def test_an_io_space_that_is_full_says_so(machine: Machine, space: int) -> None:
    machine.check = False
    capacity = record(machine, space).mapping_capacity
    frames = machine.retype(ObjectType.FRAME, 12, capacity + 1)
    for number in range(capacity):
        assert map_io(machine, frames + number, space, number * PAGE) == DONE
    machine.assert_invariants()
    last = frames + capacity
    assert map_io(machine, last, space, capacity * PAGE, 0) == (Error.NOT_ENOUGH_MEMORY, (0,))
    assert "the IOSpace has room for 124 mappings" in explain.last_refusal(machine.kernel.core, machine.root.tcb)
    machine.root.call(frames, Label.FRAME_UNMAP)
    assert map_io(machine, last, space, capacity * PAGE) == DONE
    machine.assert_invariants()


def test_a_large_io_space_keeps_its_invariants(machine: Machine) -> None:
    """More mappings than a VSpace of that size would have room for."""
    machine.check = False
    space = machine.retype(ObjectType.IO_SPACE, 13)
    frames = machine.retype(ObjectType.FRAME, 12, 200)
    for number in range(200):
        assert map_io(machine, frames + number, space, number * PAGE) == DONE
    machine.assert_invariants()


@pytest.mark.parametrize(
    ("held", "asked", "readable", "writable"),
    [
        (Rights.ALL, Rights.ALL, True, True),
        (READ_WRITE, Rights.READ, True, False),
        (READ_WRITE, Rights.WRITE, False, True),
        (Rights.READ, READ_WRITE, True, False),
        (READ_WRITE, 1 << 63 | Rights.READ, True, False),
    ],
)
def test_rights_are_those_asked_for_that_the_capability_has(
    machine: Machine, space: int, held: int, asked: int, readable: bool, writable: bool
) -> None:
    assign(machine, 0, space)
    frame = machine.copy(machine.retype(ObjectType.FRAME, 12), held)
    assert map_io(machine, frame, space, rights=asked) == DONE
    span = sees(machine)
    assert span is not None
    assert (span.readable, span.writable) == (readable, writable)


def test_a_device_sees_frames_of_all_sizes_where_they_are_mapped(machine: Machine, space: int) -> None:
    small = mapped(machine, space, AT)
    large = mapped(machine, space, 1 << 20, 16)
    assert sees(machine) is None
    assign(machine, 0, space)
    assert sees(machine, AT + 10) == Span(machine.slot(small).object + 10, PAGE - 10, True, True, 10)
    end = (1 << 20) + (1 << 16)
    assert sees(machine, end - 1) == Span(machine.slot(large).object + (1 << 16) - 1, 1, True, True, (1 << 16) - 1)
    for address in (AT - 1, AT + PAGE, end, 0, -1, IO_MAPPING_END, 1 << 64, machine.slot(small).object):
        assert sees(machine, address) is None
    assert sees(machine, device=1) is None


def test_a_frame_stays_mapped_when_its_capability_moves(machine: Machine, space: int) -> None:
    assign(machine, 0, space)
    frame = mapped(machine, space)
    before = sees(machine)
    place = machine.new_slots()
    words = (place, abi.WORD_BITS, frame, abi.WORD_BITS)
    machine.root.call(InitialSlot.CNODE, Label.CNODE_MOVE, words, [InitialSlot.CNODE])
    assert sees(machine) == before
    machine.delete(place)
    assert sees(machine) is None


def test_a_capability_is_mapped_once_in_whatever_space(machine: Machine, space: int) -> None:
    scene = MappingScene(machine)
    frame = mapped(machine, space)
    assert scene.map(frame) == (Error.INVALID_CAPABILITY, (1,))
    copy = machine.copy(frame)
    assert scene.map(copy) == DONE
    assert map_io(machine, copy, space, AT + PAGE) == (Error.INVALID_CAPABILITY, (0,))


class Dma:
    """A device with a frame, and a way to ask whether it still reaches it."""

    def __init__(self, machine: Machine, space: int) -> None:
        self.machine = machine
        assert assign(machine, 0, space) == DONE
        self.memory = machine.retype(ObjectType.UNTYPED, 12)
        self.frame = machine.retype(ObjectType.FRAME, 12, untyped=self.memory)
        self.copy = machine.copy(self.frame)
        assert map_io(machine, self.copy, space) == DONE
        iommu = Iommu(machine.ram)
        iommu.use_translation(lambda device, address: io_space.translate(machine.ram, device, address))
        self.port: DmaPort = iommu.port(0)

    def assert_reaches(self) -> None:
        self.port.write(AT, b"here")
        assert self.machine.ram.read(self.machine.slot(self.frame).object, 4) == b"here"

    def assert_faults(self) -> None:
        before = self.machine.ram.read(0, self.machine.ram.size)
        with pytest.raises(DmaFault) as caught:
            self.port.write(AT, b"gone")
        assert caught.value.kind is FaultKind.NOT_MAPPED
        assert self.machine.ram.read(0, self.machine.ram.size) == before


@pytest.fixture
def dma(machine: Machine, space: int) -> Dma:
    made = Dma(machine, space)
    made.assert_reaches()
    return made


def test_unmap_ends_it(dma: Dma) -> None:
    dma.machine.root.call(dma.copy, Label.FRAME_UNMAP)
    dma.assert_faults()


def test_deleting_the_mapped_capability_ends_it(dma: Dma) -> None:
    dma.machine.delete(dma.copy)
    dma.assert_faults()


def test_deleting_another_capability_does_not(dma: Dma) -> None:
    dma.machine.delete(dma.frame)
    dma.port.write(AT, b"still")


def test_revoking_the_memory_ends_it(dma: Dma) -> None:
    dma.machine.revoke(dma.memory)
    dma.assert_faults()


def test_the_end_of_the_io_space_ends_it_and_leaves_the_capability_unmapped(dma: Dma, space: int) -> None:
    dma.machine.delete(space)
    dma.assert_faults()
    assert not caps.read(dma.machine.slot(dma.copy)).is_mapped
    other = dma.machine.retype(ObjectType.IO_SPACE, 12)
    assert assign(dma.machine, 0, other) == DONE
    dma.assert_faults()
    assert map_io(dma.machine, dma.copy, other) == DONE
    dma.assert_reaches()


def test_the_end_of_a_large_io_space_is_preempted_and_its_device_sees_nothing_from_the_first_step(
    machine: Machine,
) -> None:
    machine.check = False
    space = machine.retype(ObjectType.IO_SPACE, 14)
    frames = machine.retype(ObjectType.FRAME, 12, 256)
    for number in range(256):
        assert map_io(machine, frames + number, space, number * PAGE) == DONE
    assign(machine, 0, space)
    machine.check = True
    machine.root.submit(
        abi.Syscall.CALL, InitialSlot.CNODE, abi.message_info(Label.CNODE_DELETE, 2), (space, abi.WORD_BITS)
    )
    assert machine.kernel.take(machine.root.tcb)
    machine.settle()
    steps = 0
    while machine.root.completion() is None:
        assert sees(machine, 255 * PAGE) is None
        assert machine.kernel.continue_one()
        machine.settle()
        steps += 1
    assert steps > 1
    assert not any(caps.read(machine.slot(frames + number)).is_mapped for number in range(256))


def test_the_view_of_io_spaces(machine: Machine, space: int) -> None:
    free = machine.retype(ObjectType.IO_SPACE, 13)
    frame = mapped(machine, space, AT, 13, Rights.READ)
    assign(machine, 1, space)
    mappings = [
        {
            "address": f"0x{AT:x}",
            "bytes": 8192,
            "rights": "r",
            "frame": f"0x{machine.slot(frame).object:x}",
            "held_by": f"root:{frame}",
        }
    ]
    expected = [
        {"io_space": f"0x{machine.slot(space).object:x}", "device": 1, "mappings": mappings, "room": 124},
        {"io_space": f"0x{machine.slot(free).object:x}", "device": None, "mappings": [], "room": 252},
    ]
    assert sorted(inspection.VIEWS["io_spaces"](machine.ram), key=str) == sorted(expected, key=str)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("address", "rights", "said"),
    [
        (IO_MAPPING_END, READ_WRITE, "frames are mapped at 0x0..0x800000000000, not at 0x800000000000"),
        (AT + 1, READ_WRITE, "a frame of 4096 bytes is mapped at a multiple of that"),
        (AT, 0, "the device can do nothing"),
    ],
)
def test_a_refused_map_io_says_why(machine: Machine, space: int, address: int, rights: int, said: str) -> None:
    map_io(machine, machine.retype(ObjectType.FRAME, 12), space, address, rights)
    assert said in explain.last_refusal(machine.kernel.core, machine.root.tcb)


def test_whoever_keeps_what_a_device_sees_is_told_of_each_change(machine: Machine, space: int) -> None:
    told: list[None] = []
    machine.kernel.core.io_changed = lambda: told.append(None)
    frame = mapped(machine, space, AT)
    assign(machine, 0, space)
    assert len(told) == 2
    machine.root.call(frame, Label.FRAME_UNMAP)
    assert len(told) == 3
    mapped(machine, space, AT)
    machine.delete(space)
    assert len(told) >= 5
