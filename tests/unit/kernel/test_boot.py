"""What a machine looks like before the initial task's first instruction."""

import itertools
import mmap
import struct
from typing import Any, cast

import pytest

from hw.ram import Interrupted, Ram
from kerneld import caps, inspection, invariants, layout
from kerneld.boot import EXTRA_BYTES, BootParameters, DeviceRegion, boot
from kerneld.failures import KernelBug
from kerneld.kernel import Kernel
from kerneld.outbox import Tell
from kerneld.records import CapType, KernelRecord, SchedContext, Slot, Tcb, TcbSlot, ThreadState, VSpace
from libsel4py import abi
from libsel4py.abi import InitialSlot
from libsel4py.lowlevel import bootinfo
from tests.harness import Machine
from tests.memory_rows import check_sums

MIB = 1 << 20


def new_ram(size: int) -> Ram:
    return Ram(mmap.mmap(-1, size), layout.UNDO_LOG, layout.UNDO_LOG_BYTES)


def booted(parameters: BootParameters) -> tuple[Ram, Kernel]:
    ram = new_ram(parameters.ram_bytes)
    boot(ram, parameters)
    return ram, Kernel(ram)


def initial(kernel: Kernel) -> Tcb:
    thread = kernel.core.kernel.initial_tcb
    assert thread is not None
    return thread


def test_the_host_is_told_to_start_the_initial_task() -> None:
    _, kernel = booted(BootParameters(8 * MIB, vspace_bits=14, image=3, arguments=(1, 2, 3, 4, 5, 6)))
    thread = initial(kernel)
    mapped, started = kernel.outbox
    assert (mapped.kind, mapped.detail) == (Tell.MAP, abi.BOOT_INFO_ADDRESS | abi.Rights.READ)
    assert (started.kind, started.subject) == (Tell.START, thread.address)
    assert (thread.state, thread.priority, thread.mcp, thread.name) == (ThreadState.RUNNING, 255, 255, "root")
    registers = kernel.ram.words(thread.address + Tcb.REGISTERS, abi.REGISTERS)
    assert registers[abi.REG_RIP] == 3
    assert [registers[index] for index in abi.ARGUMENT_REGISTERS] == [1, 2, 3, 4, 5, 6]


def test_the_initial_task_has_time_space_and_capabilities() -> None:
    _, kernel = booted(BootParameters(8 * MIB, vspace_bits=14))
    thread = initial(kernel)
    context = thread.sched_context
    assert context is not None
    assert context.tcb == thread
    assert context.refill_max
    assert context.budget == abi.INITIAL_BUDGET_US
    space = VSpace(kernel.ram, thread.slot(TcbSlot.VSPACE).object)
    assert (space.threads, space.size_bits) == (thread, 14)
    root = caps.read(thread.slot(TcbSlot.CSPACE))
    assert (root.type, root.radix, root.guard_size) == (
        CapType.CNODE,
        abi.INITIAL_CNODE_BITS,
        64 - abi.INITIAL_CNODE_BITS,
    )
    assert thread.trap_frame % (1 << abi.TRAP_FRAME_BITS) == 0


FIXED = {
    InitialSlot.TCB: CapType.TCB,
    InitialSlot.CNODE: CapType.CNODE,
    InitialSlot.VSPACE: CapType.VSPACE,
    InitialSlot.IRQ_CONTROL: CapType.IRQ_CONTROL,
    InitialSlot.IO_PORT_CONTROL: CapType.IO_PORT_CONTROL,
    InitialSlot.IO_SPACE: CapType.IO_SPACE_CONTROL,
    InitialSlot.BOOT_INFO_FRAME: CapType.FRAME,
    InitialSlot.IPC_BUFFER: CapType.FRAME,
    InitialSlot.DOMAIN: CapType.DOMAIN,
    InitialSlot.SCHED_CONTEXT: CapType.SCHED_CONTEXT,
    InitialSlot.FIRST_FREE: CapType.SCHED_CONTROL,
}


@pytest.mark.parametrize("number", range(InitialSlot.FIRST_FREE + 1))
def test_fixed_slots(machine: Machine, number: int) -> None:
    assert machine.slot(number).cap_type == FIXED.get(InitialSlot(number), CapType.NULL)


def test_boot_info_is_what_the_sdk_reads() -> None:
    device = DeviceRegion(0xFEC0_0000, 12)
    description = b"system description, of no round length"
    machine = Machine(description=description, devices=(device,))
    frame = caps.read(machine.slot(InitialSlot.BOOT_INFO_FRAME))
    info = bootinfo.parse(machine.ram.read(frame.object, 1 << frame.frame_size_bits))
    assert info.system_description == description
    assert (info.nodes, info.cnode_bits, info.domain) == (1, abi.INITIAL_CNODE_BITS, 0)
    assert info.ipc_buffer == machine.slot(InitialSlot.IPC_BUFFER).object
    assert [CapType(machine.slot(number).cap_type) for number in info.sched_control] == [CapType.SCHED_CONTROL]
    assert (info.untyped[0].address, info.untyped[0].size_bits, info.untyped[0].is_device) == (0xFEC0_0000, 12, True)
    for item in info.untyped:
        cap = caps.read(machine.slot(item.untyped.cptr))
        assert (cap.type, cap.object, cap.size_bits) == (CapType.UNTYPED, item.address, item.size_bits)
        assert cap.is_device == item.is_device
    assert info.empty.stop == 1 << abi.INITIAL_CNODE_BITS
    assert not any(machine.slot(number).word0 for number in info.empty if number != machine.root.reply)


@pytest.mark.parametrize("size", [4 * MIB, 5 * MIB, 16 * MIB, 100 * MIB + 4096, 1 << 32])
def test_untyped_and_the_initial_objects_fill_ram_without_overlap(size: int) -> None:
    ram, kernel = booted(BootParameters(size, vspace_bits=13))
    table = caps.read(initial(kernel).slot(TcbSlot.CSPACE))
    regions = []
    for number in range(1 << table.radix):
        region = caps.region(caps.read(Slot(ram, table.object + number * Slot.SIZE)))
        if region is not None:
            regions.append(region)
    regions.sort()
    assert regions[0][0] == layout.USER_BASE
    for (start, length), (following, _) in itertools.pairwise(regions):
        assert start + length == following
    assert sum(regions[-1]) == size
    assert all(start % length == 0 for start, length in regions)
    assert invariants.check(ram) == []


def test_untyped_is_listed_largest_first() -> None:
    machine = Machine()
    info = machine.boot_info()
    first, end = info[abi.BOOT_INFO_UNTYPED : abi.BOOT_INFO_UNTYPED + 2]
    sizes = [caps.read(machine.slot(number)).size_bits for number in range(first, end)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"ram_bytes": 2 * MIB}, "at least"),
        ({"ram_bytes": 8 * MIB + 1}, "multiple of 4096"),
        ({"arguments": (0,) * 7}, "7 arguments"),
        ({"description": bytes(EXTRA_BYTES - 15)}, "BootInfo holds"),
        ({"vspace_bits": 11}, "vspace_bits 11"),
        ({"devices": (DeviceRegion(0x1800, 12),)}, "not aligned"),
        ({"devices": (DeviceRegion(0x100000, 12),)}, "overlaps RAM"),
        ({"devices": (DeviceRegion(1 << 40, 12),)}, "40-bit"),
    ],
)
def test_impossible_parameters_are_refused(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BootParameters(**({"ram_bytes": 8 * MIB} | parameters))  # type: ignore[arg-type]


def test_ram_that_is_too_small_for_the_initial_task_is_refused() -> None:
    with pytest.raises(ValueError, match="aligned block of 2\\*\\*23 bytes"):
        boot(new_ram(8 * MIB), BootParameters(8 * MIB, vspace_bits=23))


def test_ram_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="the parameters say"):
        boot(new_ram(4 * MIB), BootParameters(8 * MIB, vspace_bits=14))


def test_a_machine_is_booted_once() -> None:
    ram, _ = booted(BootParameters(8 * MIB, vspace_bits=14))
    with pytest.raises(ValueError, match="already"):
        boot(ram, BootParameters(8 * MIB, vspace_bits=14))


def test_ram_without_a_machine_has_no_kernel() -> None:
    with pytest.raises(KernelBug, match="no sel4py machine"):
        Kernel(new_ram(8 * MIB))


@pytest.mark.parametrize("store", [0, 1, 20, 50])
def test_a_boot_that_is_killed_can_be_repeated(store: int) -> None:
    parameters = BootParameters(8 * MIB, vspace_bits=14)
    ram = new_ram(8 * MIB)
    ram.interrupt_at(store)
    with pytest.raises(Interrupted):
        boot(ram, parameters)
    with pytest.raises(KernelBug):
        Kernel(ram)
    boot(ram, parameters)
    other, _ = booted(parameters)
    assert ram.read(layout.KERNEL_RECORD, ram.size - layout.KERNEL_RECORD) == other.read(
        layout.KERNEL_RECORD, ram.size - layout.KERNEL_RECORD
    )
    assert invariants.check(ram) == []


def test_the_largest_description_fits() -> None:
    description = struct.pack("<Q", 7) * ((EXTRA_BYTES - 16) // 8)
    machine = Machine(description=description)
    frame = machine.slot(InitialSlot.BOOT_INFO_FRAME).object
    assert bootinfo.parse(machine.ram.read(frame, 1 << abi.BOOT_INFO_FRAME_BITS)).system_description == description


def test_the_first_context_has_room_for_its_refills(machine: Machine) -> None:
    context = machine.root.tcb.sched_context
    assert context is not None
    last = context.address + SchedContext.REFILLS + context.refill_max * abi.REFILL_BYTES
    assert last <= context.address + (1 << context.size_bits)


def test_devices_memory_may_lie_behind_ram_and_is_no_part_of_it() -> None:
    devices = (DeviceRegion(8 * MIB, 20), DeviceRegion(16 * MIB, 22))
    parameters = BootParameters(8 * MIB, vspace_bits=14, devices=devices)
    assert parameters.memory_bytes == 20 * MIB
    ram = new_ram(20 * MIB)
    ram.poke(16 * MIB, b"of the device")
    boot(ram, parameters)
    assert invariants.check(ram) == []
    assert KernelRecord.of(ram).ram_bytes == 8 * MIB
    found = cast("dict[str, Any]", inspection.memory(ram))
    check_sums(found)
    assert found["ram"] == 8 * MIB
    assert [(row["address"], row["bytes"]) for row in found["devices"]] == [
        ("0x800000", MIB),
        ("0x1000000", 4 * MIB),
    ]
    assert ram.read(16 * MIB, 13) == b"of the device"
    for size in (8 * MIB - 4096, 12 * MIB, 24 * MIB):
        with pytest.raises(ValueError, match="the parameters say"):
            boot(new_ram(size), parameters)
