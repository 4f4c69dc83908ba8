"""From empty RAM to a machine whose initial task can start (manual, chapter 9; seL4's `boot.c`).

RAM above the kernel's own records is cut into naturally aligned powers of two. The initial task's objects take the
smallest block that fits each; all that is left becomes the untyped memory that the initial task is given. Nothing
is allocated after that: whatever else exists is made by Retype.

Rules: RAM must be zero. The machine header's magic is stored last, so that RAM is a machine only when all of it is
there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hw.ram import Ram
from kerneld import caps, layout, mappings, mdb, refills, scheduler, settling, threads
from kerneld.caps import Cap
from kerneld.core import Core, NoPorts
from kerneld.outbox import Outbox
from kerneld.records import KernelRecord, SchedContext, Slot, Tcb, TcbSlot, ThreadState, VSpace
from libsel4py import abi
from libsel4py.abi import InitialSlot

SCHED_CONTEXT_BITS: Final = 8
EXTRA_BYTES: Final = (1 << abi.BOOT_INFO_FRAME_BITS) - abi.BOOT_INFO_EXTRA * abi.WORD_BYTES
CHUNK_HEAD_BYTES: Final = 2 * abi.WORD_BYTES
_DOMAIN_SHIFT: Final = 56


@dataclass(frozen=True, slots=True)
class DeviceRegion:
    """Device memory: physical address, naturally aligned, and log2 of its bytes."""

    address: int
    size_bits: int


@dataclass(frozen=True, slots=True)
class BootParameters:
    """What the machine starts with.

    Attributes:
        ram_bytes: size of RAM, a multiple of 4096, at least layout.MINIMUM_RAM.
        image: number of the boot image that the initial task runs. arguments: up to six words for it.
        description: bytes for BootInfo's chunk BOOT_INFO_EXTRA_SYSTEM; b"" for none.
        devices: device memory, given to the initial task as device untypeds.
        device_count: how many devices the machine has: the numbers that IOSpaces can be assigned to.
        vspace_bits: log2 of the initial task's private-memory limit in bytes, taken from RAM.
        cores: virtual cores (kerneld/cores); 0: the host shares out the processors.
        step_us: microseconds of virtual time that a system call takes; 0: time is the host's. Of one core alone.
    """

    ram_bytes: int
    image: int = 0
    arguments: tuple[int, ...] = ()
    description: bytes = b""
    devices: tuple[DeviceRegion, ...] = ()
    device_count: int = 0
    vspace_bits: int = 26
    cores: int = 0
    step_us: int = 0

    def __post_init__(self) -> None:
        if self.ram_bytes < layout.MINIMUM_RAM or self.ram_bytes % 4096:
            raise ValueError(
                f"RAM of {self.ram_bytes} bytes: it must be a multiple of 4096, at least {layout.MINIMUM_RAM}"
            )
        if len(self.arguments) > len(abi.ARGUMENT_REGISTERS):
            raise ValueError(f"{len(self.arguments)} arguments: an image takes {len(abi.ARGUMENT_REGISTERS)}")
        if len(self.description) > EXTRA_BYTES - CHUNK_HEAD_BYTES:
            raise ValueError(
                f"the system description has {len(self.description)} bytes; BootInfo holds"
                f" {EXTRA_BYTES - CHUNK_HEAD_BYTES}"
            )
        if not 0 <= self.device_count <= layout.DEVICE_RECORD_COUNT:
            raise ValueError(f"{self.device_count} devices: a machine has {layout.DEVICE_RECORD_COUNT} at most")
        if not abi.VSPACE_MIN_BITS <= self.vspace_bits < abi.UNTYPED_MAX_BITS:
            raise ValueError(f"vspace_bits {self.vspace_bits} is not in {abi.VSPACE_MIN_BITS}..38")
        if not 0 <= self.cores <= layout.CORES_HIGH:
            raise ValueError(f"{self.cores} virtual cores: a machine has {layout.CORES_HIGH} at most")
        if self.step_us and self.cores != 1:
            raise ValueError(
                "virtual time is for one virtual core: with more, the host would order what happens at once"
            )
        for device in self.devices:
            _check_device(device, self.ram_bytes)

    @property
    def memory_bytes(self) -> int:
        """Of RAM, and of what is behind it up to the last device's memory."""
        return max([self.ram_bytes, *(device.address + (1 << device.size_bits) for device in self.devices)])


def _check_device(device: DeviceRegion, ram_bytes: int) -> None:
    size = 1 << device.size_bits
    if not abi.UNTYPED_MIN_BITS <= device.size_bits <= abi.UNTYPED_MAX_BITS or device.address % size:
        raise ValueError(f"device memory at 0x{device.address:x} of 2**{device.size_bits} bytes is not aligned")
    if device.address < ram_bytes and device.address + size > layout.USER_BASE:
        raise ValueError(f"device memory at 0x{device.address:x} overlaps RAM that becomes untyped memory")
    if device.address + size > caps.OBJECT_MASK:
        raise ValueError(f"device memory at 0x{device.address:x} is outside of 40-bit physical addresses")


class _Blocks:
    """Free memory as naturally aligned powers of two: (address, size bits)."""

    def __init__(self, start: int, end: int) -> None:
        self.free = list(_aligned_blocks(start, end))

    def take(self, bits: int) -> int:
        """The address of 2**bits bytes from the smallest block that has them."""
        fitting = [block for block in self.free if block[1] >= bits]
        if not fitting:
            raise ValueError(f"RAM is too small: the initial task needs an aligned block of 2**{bits} bytes")
        address, size = min(fitting, key=lambda block: (block[1], block[0]))
        self.free.remove((address, size))
        while size > bits:
            size -= 1
            self.free.append((address + (1 << size), size))
        return address


def _aligned_blocks(start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        aligned = (start & -start).bit_length() - 1
        bits = min(aligned, (end - start).bit_length() - 1, abi.UNTYPED_MAX_BITS)
        yield start, bits
        start += 1 << bits


@dataclass(frozen=True, slots=True)
class _Objects:
    """Addresses of the initial task's objects."""

    vspace: int
    cnode: int
    boot_info: int
    trap_frame: int
    tcb: int
    sched_context: int


def boot(ram: Ram, parameters: BootParameters) -> None:
    """Make RAM a machine whose initial task is about to start: `Kernel(ram)` finds START in its outbox.

    Raises:
        ValueError: RAM has another size than the parameters say, holds a machine already, or is too small for them. It
            may have the devices' memory behind it; where it has not, that is somewhere else.
    """
    if ram.size not in (parameters.ram_bytes, parameters.memory_bytes):
        raise ValueError(f"RAM has {ram.size} bytes and the parameters say {parameters.ram_bytes}")
    if ram.word(layout.HEADER_MAGIC) == layout.MAGIC:
        raise ValueError("RAM holds a machine already; Kernel(ram) goes on with it")
    ram.recover()
    user_base = layout.CORES + parameters.cores * layout.CORE_BYTES
    blocks = _Blocks(user_base, parameters.ram_bytes)
    objects = _Objects(
        vspace=blocks.take(parameters.vspace_bits),
        cnode=blocks.take(abi.INITIAL_CNODE_BITS + abi.SLOT_BITS),
        boot_info=blocks.take(abi.BOOT_INFO_FRAME_BITS),
        trap_frame=blocks.take(abi.TRAP_FRAME_BITS),
        tcb=blocks.take(abi.FIXED_SIZE_BITS[abi.ObjectType.TCB]),
        sched_context=blocks.take(SCHED_CONTEXT_BITS),
    )
    untyped = _untyped_caps(blocks, parameters.devices)
    ram.poke(objects.boot_info, _boot_info(parameters, objects, untyped))
    with ram.transaction():
        core = Core(ram, KernelRecord.of(ram), Outbox(ram), NoPorts(), lambda address: 0, lambda: 0)
        _fill_cnode(core, objects, parameters, untyped)
        _make_thread(core, objects, parameters)
        core.kernel.user_base = user_base
        core.kernel.cores = parameters.cores
        core.kernel.step_us = parameters.step_us
        core.kernel.device_count = parameters.device_count
        ram.set_word(core.kernel.address + KernelRecord.DOMAIN_SCHEDULE, 0 << _DOMAIN_SHIFT | abi.MAX_PERIOD_US)
        settling.settle(core)
        ram.set_word(layout.HEADER_VERSION, layout.VERSION)
        ram.set_word(layout.HEADER_SIZE, parameters.ram_bytes)
        ram.set_word(layout.HEADER_MAGIC, layout.MAGIC)


def _untyped_caps(blocks: _Blocks, devices: tuple[DeviceRegion, ...]) -> list[Cap]:
    """Device memory first, then RAM, the largest block first; at most as many as BootInfo can list."""
    found = [caps.untyped(device.address, device.size_bits, True) for device in devices]
    by_size = sorted(blocks.free, key=lambda block: (-block[1], block[0]))
    found += [caps.untyped(address, bits, False) for address, bits in by_size if bits >= abi.UNTYPED_MIN_BITS]
    return found[: abi.BOOT_INFO_MAX_UNTYPED]


def _fixed_caps(objects: _Objects, parameters: BootParameters) -> dict[InitialSlot, Cap]:
    radix = abi.INITIAL_CNODE_BITS
    return {
        InitialSlot.TCB: caps.tcb(objects.tcb),
        InitialSlot.CNODE: caps.cnode(objects.cnode, radix, 0, abi.WORD_BITS - radix),
        InitialSlot.VSPACE: caps.vspace(objects.vspace, parameters.vspace_bits),
        InitialSlot.IRQ_CONTROL: caps.irq_control(),
        InitialSlot.IO_PORT_CONTROL: caps.io_port_control(),
        InitialSlot.IO_SPACE: caps.io_space_control(),
        InitialSlot.BOOT_INFO_FRAME: caps.frame(objects.boot_info, abi.BOOT_INFO_FRAME_BITS),
        InitialSlot.IPC_BUFFER: caps.frame(objects.trap_frame, abi.TRAP_FRAME_BITS),
        InitialSlot.DOMAIN: caps.domain(),
        InitialSlot.SCHED_CONTEXT: caps.sched_context(objects.sched_context, SCHED_CONTEXT_BITS),
    }


def _first_untyped(parameters: BootParameters) -> int:
    """Behind the SchedControl capabilities: one a virtual core, at least one."""
    return InitialSlot.FIRST_FREE + max(1, parameters.cores)


def _fill_cnode(core: Core, objects: _Objects, parameters: BootParameters, untyped: list[Cap]) -> None:
    for slot, cap in _fixed_caps(objects, parameters).items():
        mdb.insert_root(_initial_slot(core, objects, slot), cap)
    first = _first_untyped(parameters)
    for number in range(first - InitialSlot.FIRST_FREE):
        mdb.insert_root(_initial_slot(core, objects, InitialSlot.FIRST_FREE + number), caps.sched_control(number))
    for number, cap in enumerate(untyped):
        mdb.insert_root(_initial_slot(core, objects, first + number), cap)


def _initial_slot(core: Core, objects: _Objects, number: int) -> Slot:
    return core.slot(objects.cnode + number * Slot.SIZE)


def _make_thread(core: Core, objects: _Objects, parameters: BootParameters) -> None:
    ram = core.ram
    thread = Tcb(ram, objects.tcb)
    for inside, number in (
        (TcbSlot.CSPACE, InitialSlot.CNODE),
        (TcbSlot.VSPACE, InitialSlot.VSPACE),
        (TcbSlot.BUFFER, InitialSlot.IPC_BUFFER),
    ):
        source = _initial_slot(core, objects, number)
        mdb.insert(core, caps.read(source), source, thread.slot(inside))
    space = VSpace(ram, objects.vspace)
    space.size_bits = parameters.vspace_bits
    boot_info = _initial_slot(core, objects, InitialSlot.BOOT_INFO_FRAME)
    mappings.map_frame(core, boot_info, space, abi.BOOT_INFO_ADDRESS, abi.Rights.READ, abi.VmAttributes.DEFAULT)
    threads.join_vspace(core, space, thread)
    context = SchedContext(ram, objects.sched_context)
    context.size_bits = SCHED_CONTEXT_BITS
    refills.lay_out(core, context, refills.MIN_REFILLS, abi.INITIAL_BUDGET_US, 0)
    context.tcb = thread
    thread.sched_context = context
    thread.priority = thread.mcp = abi.INITIAL_PRIORITY
    ram.set_word(thread.address + Tcb.REGISTERS + abi.REG_RIP * abi.WORD_BYTES, parameters.image)
    for register, value in zip(abi.ARGUMENT_REGISTERS, parameters.arguments, strict=False):
        ram.set_word(thread.address + Tcb.REGISTERS + register * abi.WORD_BYTES, value)
    ram.write(thread.address + Tcb.NAME, b"root".ljust(Tcb.NAME_BYTES, b"\0"))
    core.kernel.initial_tcb = thread
    scheduler.set_state(core, thread, ThreadState.RUNNING)


def _boot_info(parameters: BootParameters, objects: _Objects, untyped: list[Cap]) -> bytes:
    words = [0] * abi.BOOT_INFO_EXTRA
    chunk = _system_chunk(parameters.description)
    first_untyped = _first_untyped(parameters)
    first_empty = first_untyped + len(untyped)
    words[abi.BOOT_INFO_EXTRA_BYTES] = len(chunk)
    words[abi.BOOT_INFO_NODES] = max(1, parameters.cores)
    words[abi.BOOT_INFO_IPC_BUFFER] = objects.trap_frame
    words[abi.BOOT_INFO_EMPTY : abi.BOOT_INFO_EMPTY + 2] = [first_empty, 1 << abi.INITIAL_CNODE_BITS]
    words[abi.BOOT_INFO_CNODE_BITS] = abi.INITIAL_CNODE_BITS
    words[abi.BOOT_INFO_SCHED_CONTROL : abi.BOOT_INFO_SCHED_CONTROL + 2] = [InitialSlot.FIRST_FREE, first_untyped]
    words[abi.BOOT_INFO_UNTYPED : abi.BOOT_INFO_UNTYPED + 2] = [first_untyped, first_empty]
    for number, cap in enumerate(untyped):
        at = abi.BOOT_INFO_UNTYPED_LIST + 2 * number
        words[at : at + 2] = [cap.object, cap.size_bits | cap.is_device << 8]
    return struct.pack(f"<{len(words)}Q", *words) + chunk


def _system_chunk(description: bytes) -> bytes:
    """Id, bytes with this head, payload; padded to whole words."""
    if not description:
        return b""
    size = CHUNK_HEAD_BYTES + len(description)
    padding = b"\0" * (-size % abi.WORD_BYTES)
    return struct.pack("<2Q", abi.BOOT_INFO_EXTRA_SYSTEM, size) + description + padding
