"""IOSpaces: which device does DMA by which, what it reaches, and when it does not any more."""

from __future__ import annotations

import pytest

from hw.iommu import Span
from kerneld.objects import io_space
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, ObjectType, Rights
from tests.conformance.refusals import Refusal, Stock
from tests.conformance.scenes import held
from tests.harness import Machine

AT = 0x12_3400_0000
READ_WRITE = Rights.READ | Rights.WRITE


@pytest.fixture
def space(machine: Machine) -> int:
    """An IOSpace that is device 0's."""
    space = machine.retype(ObjectType.IO_SPACE, abi.IO_SPACE_MIN_BITS)
    assert assign(machine, 0, space) == Error.NO_ERROR
    return space


def assign(machine: Machine, device: int, space: int) -> int:
    return machine.root.invoke(InitialSlot.IO_SPACE, Label.IO_SPACE_CONTROL_ASSIGN, (device,), [space])[0]


def map_io(machine: Machine, frame: int, space: int, address: int = AT, rights: int = READ_WRITE) -> int:
    return machine.root.invoke(frame, Label.FRAME_MAP_IO, (rights, address), [space])[0]


def mapped(machine: Machine, space: int, address: int = AT, rights: int = READ_WRITE) -> int:
    frame = machine.retype(ObjectType.FRAME, 12)
    assert map_io(machine, frame, space, address, rights) == Error.NO_ERROR
    return frame


def sees(machine: Machine, address: int = AT, device: int = 0) -> Span | None:
    return io_space.translate(machine.ram, device, address)


def test_IOSPACE0001_reaches(machine: Machine, space: int) -> None:
    """A device reaches a frame that is mapped in its IOSpace, at the address that was given."""
    frame = mapped(machine, space)
    assert sees(machine, AT + 8) == Span(held(machine, frame).object + 8, 4096 - 8, True, True, 8)


def test_IOSPACE0002_nothing_else(machine: Machine, space: int) -> None:
    """A device reaches nothing that is not mapped in its IOSpace, its frame's physical address included."""
    frame = mapped(machine, space)
    for address in (0, AT - 1, AT + 4096, held(machine, frame).object, abi.IO_MAPPING_END):
        assert sees(machine, address) is None


def test_IOSPACE0003_of_one_device(machine: Machine, space: int) -> None:
    """What is mapped in one device's IOSpace no other device reaches."""
    mapped(machine, space)
    assert sees(machine, device=1) is None
    assert assign(machine, 1, machine.retype(ObjectType.IO_SPACE, 12)) == Error.NO_ERROR
    assert sees(machine, device=1) is None


def test_IOSPACE0004_assigned_once(machine: Machine, space: int) -> None:
    """An IOSpace is assigned once, and a device has one: DeleteFirst."""
    assert assign(machine, 1, space) == Error.DELETE_FIRST
    assert assign(machine, 0, machine.retype(ObjectType.IO_SPACE, 12)) == Error.DELETE_FIRST


def test_IOSPACE0005_rights(machine: Machine, space: int) -> None:
    """A device may do what is asked for and the frame capability allows; writing needs its Read as well."""
    frame = machine.retype(ObjectType.FRAME, 12)
    cases = [(Rights.ALL, Rights.READ, "r"), (Rights.ALL, Rights.WRITE, "w"), (Rights.READ, READ_WRITE, "r")]
    for allowed, asked, expected in cases:
        copy = machine.copy(frame, allowed)
        assert map_io(machine, copy, space, rights=asked) == Error.NO_ERROR
        span = sees(machine)
        assert span is not None
        assert "r" * span.readable + "w" * span.writable == expected
        machine.delete(copy)
    assert map_io(machine, machine.copy(frame, Rights.WRITE), space) == Error.INVALID_ARGUMENT


def test_IOSPACE0006_mapped_once(machine: Machine, space: int) -> None:
    """A frame capability is mapped at most once; a copy of it can be mapped elsewhere."""
    frame = mapped(machine, space)
    assert map_io(machine, frame, space, AT + 4096) == Error.INVALID_CAPABILITY
    copy = machine.copy(frame)
    assert map_io(machine, copy, space, AT) == Error.DELETE_FIRST
    assert map_io(machine, copy, space, AT + 4096) == Error.NO_ERROR


def test_IOSPACE0007_unmap(machine: Machine, space: int) -> None:
    """Unmap ends the device's access; other mappings of the frame stay."""
    frame = mapped(machine, space)
    assert map_io(machine, machine.copy(frame), space, AT + 4096) == Error.NO_ERROR
    machine.root.call(frame, Label.FRAME_UNMAP)
    assert sees(machine) is None
    assert sees(machine, AT + 4096) is not None


def test_IOSPACE0008_delete(machine: Machine, space: int) -> None:
    """Deleting the mapped capability ends the device's access, also while the frame has others."""
    frame = machine.retype(ObjectType.FRAME, 12)
    copy = machine.copy(frame)
    assert map_io(machine, copy, space) == Error.NO_ERROR
    machine.delete(copy)
    assert sees(machine) is None


def test_IOSPACE0009_revoke(machine: Machine, space: int) -> None:
    """Revoking the memory that a frame was made from ends the device's access."""
    memory = machine.retype(ObjectType.UNTYPED, 12)
    frame = machine.retype(ObjectType.FRAME, 12, untyped=memory)
    assert map_io(machine, frame, space) == Error.NO_ERROR
    machine.revoke(memory)
    assert sees(machine) is None


def test_IOSPACE0010_end(machine: Machine, space: int) -> None:
    """With its last capability an IOSpace ends: frames are unmapped, the device sees nothing, and can get another."""
    frame = mapped(machine, space)
    copy = machine.copy(space)
    machine.delete(space)
    assert sees(machine) is not None
    machine.delete(copy)
    assert sees(machine) is None
    other = machine.retype(ObjectType.IO_SPACE, 12)
    assert assign(machine, 0, other) == Error.NO_ERROR
    assert map_io(machine, frame, other) == Error.NO_ERROR
    assert sees(machine) is not None


def test_IOSPACE0011_moved(machine: Machine, space: int) -> None:
    """A mapped capability that is moved stays mapped."""
    frame = mapped(machine, space)
    place = machine.new_slots()
    machine.root.call(InitialSlot.CNODE, Label.CNODE_MOVE, (place, 64, frame, 64), [InitialSlot.CNODE])
    assert sees(machine) is not None
    machine.root.call(place, Label.FRAME_UNMAP)
    assert sees(machine) is None


def test_IOSPACE0012_assign_errors(machine: Machine) -> None:
    """IOSpaceControl_Assign: capability, then device, then whether either is taken."""
    stock = Stock(machine)
    label, last = Label.IO_SPACE_CONTROL_ASSIGN, machine.device_count - 1
    for refusal in (
        Refusal(label, Error.INVALID_CAPABILITY, (1,), {0: last + 1}, {0: "vspace"}),
        Refusal(label, Error.INVALID_CAPABILITY, (1,), caps={0: "null"}),
        Refusal(label, Error.RANGE_ERROR, (0, last), {0: last + 1}, {0: "io_space"}),
        Refusal(label, Error.RANGE_ERROR, (0, last), {0: abi.WORD_MASK}),
        Refusal(label, Error.DELETE_FIRST, (), {0: 0}),
        Refusal(label, Error.DELETE_FIRST, (), caps={0: "io_space"}),
    ):
        assert stock.invoke(refusal) == (refusal.error, refusal.payload), str(refusal)


def test_IOSPACE0013_map_io_errors(machine: Machine) -> None:
    """Page_MapIO: mapped already, the IOSpace, the address, its alignment, then whether a right is left."""
    stock = Stock(machine)
    label, end = Label.FRAME_MAP_IO, abi.IO_MAPPING_END
    for refusal in (
        Refusal(label, Error.INVALID_CAPABILITY, (0,), {1: end}, {0: "vspace"}, cptr="mapped"),
        Refusal(label, Error.INVALID_CAPABILITY, (1,), {1: end}, {0: "vspace"}),
        Refusal(label, Error.INVALID_CAPABILITY, (1,), {1: end}, {0: "null"}),
        Refusal(label, Error.INVALID_ARGUMENT, (1,), {0: 0, 1: end + 1}),
        Refusal(label, Error.INVALID_ARGUMENT, (1,), {0: 0, 1: abi.WORD_MASK}),
        Refusal(label, Error.ALIGNMENT_ERROR, (), {0: 0, 1: 4096}),
        Refusal(label, Error.INVALID_ARGUMENT, (0,), {0: 0}),
        Refusal(label, Error.INVALID_ARGUMENT, (0,), {0: Rights.GRANT}),
    ):
        assert stock.invoke(refusal) == (refusal.error, refusal.payload), str(refusal)
