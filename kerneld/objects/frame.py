"""Frame: memory that tasks, kernel and devices can share (manual 7.1.2). Its bytes are no kernel record.

What a frame is stands in its capabilities alone: address, size, rights, and where that capability is mapped. Each
capability is mapped at most once; who wants a frame at two addresses copies the capability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kerneld import caps, mapping_table, mappings
from kerneld.caps import Cap
from kerneld.core import Call, Core, Invocation, Result
from kerneld.failures import (
    SyscallError,
    illegal_operation,
    invalid_argument,
    invalid_capability,
    truncated_message,
)
from kerneld.objects import io_space
from kerneld.records import CapType, IoSpace, MappingSpace, Slot, VSpace
from libsel4py.abi import IO_MAPPING_END, MAPPING_BASE, MAPPING_END, Error, Label, VmAttributes

_ATTRIBUTES: Final = int(VmAttributes.WRITE_THROUGH | VmAttributes.CACHE_DISABLED | VmAttributes.WRITE_COMBINING)


@dataclass(frozen=True, slots=True)
class Map:
    """Also again at the same address, with other rights and attributes."""

    slot: Slot
    space: VSpace
    address: int
    rights: int
    attributes: int
    thread: int

    def perform(self, core: Core) -> Result:
        if mappings.map_frame(core, self.slot, self.space, self.address, self.rights, self.attributes):
            mappings.takes_memory(core, self.thread)
        return ()


@dataclass(frozen=True, slots=True)
class MapIo:
    slot: Slot
    space: IoSpace
    address: int
    rights: int

    def perform(self, core: Core) -> Result:
        mappings.map_io(core, self.slot, self.space, self.address, self.rights)
        return ()


@dataclass(frozen=True, slots=True)
class Unmap:
    slot: Slot
    thread: int

    def perform(self, core: Core) -> Result:
        mappings.takes_memory(core, self.thread)
        mappings.end(core, self.slot)
        return ()


@dataclass(frozen=True, slots=True)
class GetAddress:
    address: int

    def perform(self, core: Core) -> Result:
        return (self.address,)


def decode(core: Core, call: Call) -> Invocation:
    """The checked method of a frame capability.

    Raises:
        SyscallError: in this order. ILLEGAL_OPERATION (label). Map: TRUNCATED_MESSAGE; INVALID_CAPABILITY(1) (no
            VSpace, or mapped in another space); INVALID_ARGUMENT(0) (mapped at another address, or outside of
            MAPPING_BASE..MAPPING_END); ALIGNMENT_ERROR; DELETE_FIRST (taken); NOT_ENOUGH_MEMORY (the table is full, or
            the host has no more for the process).
            MapIO: TRUNCATED_MESSAGE; INVALID_CAPABILITY(0) (mapped, or of a device); INVALID_CAPABILITY(1) (no
            IOSpace); INVALID_ARGUMENT(1) (past IO_MAPPING_END); then as Map; INVALID_ARGUMENT(0) (no right is left).
    """
    match call.label:
        case Label.FRAME_MAP:
            return _decode_map(core, call)
        case Label.FRAME_MAP_IO:
            return _decode_map_io(core, call)
        case Label.FRAME_UNMAP:
            return Unmap(call.slot, call.thread.address)
        case Label.FRAME_GET_ADDRESS:
            return GetAddress(call.slot.object)
        case _:
            raise illegal_operation(f"a frame has no method with label {call.label}")


def _decode_map(core: Core, call: Call) -> Map:
    if len(call.words) < 3 or not call.caps:
        raise truncated_message("Map takes an address, rights, attributes, and the capability of a VSpace")
    address, rights, attributes = call.words[:3]
    cap, target = caps.read(call.slot), call.caps[0]
    if target.cap_type != CapType.VSPACE:
        raise invalid_capability(1, "a frame is mapped into a VSpace, and this capability is none")
    space = VSpace(core.ram, target.object)
    if cap.is_mapped:
        ensure_mapped_there(cap, space.address, address)
    ensure_place(cap, address, MAPPING_BASE, MAPPING_END)
    if not cap.is_mapped:
        ensure_free(space, cap, address)
        ensure_room_at_host(space)
    effective, attributes = mappings.access(cap, rights), attributes & _ATTRIBUTES
    if cap.frame_is_device and core.ports.has_registers(cap.object):
        attributes |= mapping_table.REGISTERS
    return Map(call.slot, space, address, effective, attributes, call.thread.address)


def _decode_map_io(core: Core, call: Call) -> MapIo:
    if len(call.words) < 2 or not call.caps:
        raise truncated_message("MapIO takes rights, an address, and the capability of an IOSpace")
    rights, address = call.words[:2]
    cap, target = caps.read(call.slot), call.caps[0]
    if cap.is_mapped:
        raise invalid_capability(0, "the frame capability is mapped already; unmap it, or map a copy of it")
    if cap.frame_is_device:
        raise invalid_capability(0, "the frame is of a device: devices do DMA to RAM, not to each other's registers")
    if target.cap_type != CapType.IO_SPACE:
        raise invalid_capability(1, "a device sees a frame by an IOSpace, and this capability is none")
    space = IoSpace(core.ram, target.object)
    ensure_place(cap, address, 0, IO_MAPPING_END, argument=1)
    ensure_free(space, cap, address)
    effective = io_space.device_rights(cap, rights)
    if not effective:
        raise invalid_argument(0, "with these rights, of which the capability has some, the device can do nothing")
    return MapIo(call.slot, space, address, effective)


def ensure_mapped_there(cap: Cap, space: int, address: int) -> None:
    """Raise unless the mapped capability is mapped at this address of this VSpace: then only rights change."""
    if cap.is_mapped_by_io or cap.mapped_space != space:
        raise invalid_capability(1, "the frame capability is mapped in another space; unmap it, or map a copy of it")
    if cap.mapped_address != address:
        raise invalid_argument(
            0, f"the frame capability is mapped at 0x{cap.mapped_address:x}; unmap it, or map a copy of it"
        )


def ensure_place(cap: Cap, address: int, base: int, end: int, *, argument: int = 0) -> None:
    """Raise unless the frame at this address, a word of the message, is inside of ``base`` to ``end`` and aligned."""
    size = 1 << cap.frame_size_bits
    if not base <= address <= end - size:
        raise invalid_argument(argument, f"frames are mapped at 0x{base:x}..0x{end:x}, not at 0x{address:x}")
    if address % size:
        raise SyscallError(
            Error.ALIGNMENT_ERROR, (), f"a frame of {size} bytes is mapped at a multiple of that, not at 0x{address:x}"
        )


def ensure_free(space: MappingSpace, cap: Cap, address: int) -> None:
    """Raise if something is mapped there, or the table has no room for one mapping more."""
    there = mapping_table.overlapping(space, address, 1 << cap.frame_size_bits)
    if there is not None:
        taken = f"0x{there.address:x}..0x{there.end:x}"
        raise SyscallError(Error.DELETE_FIRST, (), f"a frame is mapped at {taken} already; unmap that first")
    if mapping_table.is_full(space):
        kind = "IOSpace" if isinstance(space, IoSpace) else "VSpace"
        raise SyscallError(
            Error.NOT_ENOUGH_MEMORY,
            (0,),
            f"the {kind} has room for {space.mapping_capacity} mappings; one that is made larger has more",
        )


def ensure_room_at_host(space: VSpace) -> None:
    """Raise if the process that runs there has its share of what the host has for frames."""
    if space.limited:
        raise SyscallError(
            Error.NOT_ENOUGH_MEMORY,
            (0,),
            "the process has its share of the frames that the host has descriptors for, whatever their size; unmap "
            "some, map larger ones, or start the system with a higher limit of open files",
        )
