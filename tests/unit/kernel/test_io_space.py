"""IOSpaces: assigned to devices, and what a device sees from then on."""

from __future__ import annotations

import pytest

from kerneld import explain
from kerneld.objects import io_space
from kerneld.records import CapType, IoSpace
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, ObjectType
from tests.harness import Machine

CONTROL = InitialSlot.IO_SPACE
DEVICES = 2  # the harness's machine has that many


def assign(machine: Machine, device: int, space: int) -> tuple[int, tuple[int, ...]]:
    return machine.root.invoke(CONTROL, Label.IO_SPACE_CONTROL_ASSIGN, (device,), [space])


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
