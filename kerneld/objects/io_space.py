"""IOSpace: what a device sees of memory. IOSpaceControl says which device does DMA by it.

An IOSpace is a table of frame mappings in its own memory (`kerneld/mapping_table.py`); frames are mapped into it by
their own method, Frame.map_io. It is assigned once, to one device, and a device has one:
the pair ends with the IOSpace.
A device looks each access up (`translate`), so what the kernel takes away is gone for it in the same transaction.
(seL4's IOSpace is made at boot, a capability for each PCI device; here it is an object that somebody pays for.)
"""

from __future__ import annotations

from dataclasses import dataclass

from hw.iommu import Span
from hw.ram import Ram
from kerneld import mapping_table, mappings
from kerneld.caps import OBJECT_MASK, Cap
from kerneld.core import Call, Core, Invocation, Result
from kerneld.failures import SyscallError, illegal_operation, invalid_capability, range_error, truncated_message
from kerneld.records import CapType, IoSpace, KernelRecord
from kerneld.work import Work
from libsel4py.abi import IO_MAPPING_END, Error, Label, Rights


@dataclass(frozen=True, slots=True)
class Assign:
    device: int
    space: IoSpace

    def perform(self, core: Core) -> Result:
        core.io_changed()
        self.space.device_word = self.device + 1
        core.ram.set_word(core.kernel.io_space_word(self.device), self.space.address)
        return ()


def decode(core: Core, call: Call) -> Invocation:
    """The checked method of an IOSpaceControl or IOSpace capability; an IOSpace has none.

    Raises:
        SyscallError: in this order: ILLEGAL_OPERATION (label), TRUNCATED_MESSAGE, INVALID_CAPABILITY(1) (no IOSpace),
            RANGE_ERROR (no such device), DELETE_FIRST (the IOSpace is a device's, or the device has one).
    """
    if call.slot.cap_type == CapType.IO_SPACE:
        raise illegal_operation(f"an IOSpace has no method with label {call.label}; Frame.map_io maps frames into it")
    if call.label != Label.IO_SPACE_CONTROL_ASSIGN:
        raise illegal_operation(f"IOSpaceControl has no method with label {call.label}")
    if not call.words or not call.caps:
        raise truncated_message("Assign takes the device's number, and the capability of an IOSpace")
    if call.caps[0].cap_type != CapType.IO_SPACE:
        raise invalid_capability(1, "a device does DMA by an IOSpace, and this is no capability to one")
    device = call.words[0]
    count = core.kernel.device_count
    if device >= count:
        devices = f"devices 0 to {count - 1}" if count else "no devices"
        raise range_error(0, max(count - 1, 0), f"there is no device {device}; the machine has {devices}")
    space = IoSpace(core.ram, call.caps[0].object)
    if space.device is not None:
        raise SyscallError(
            Error.DELETE_FIRST, (), f"the IOSpace is device {space.device}'s already; give this device one of its own"
        )
    if core.kernel.io_space(device) is not None:
        raise SyscallError(Error.DELETE_FIRST, (), f"device {device} has an IOSpace; delete that one first")
    return Assign(device, space)


def device_rights(cap: Cap, asked: int) -> int:
    """What a device may do with a frame: read with Read, write with Read and Write, of the capability's and asked."""
    rights = asked & cap.rights & (Rights.READ | Rights.WRITE)
    return rights if cap.rights & Rights.READ else 0


def release(core: Core, space: IoSpace, work: Work) -> bool:
    """The last capability is about to go: the device sees nothing now, and mappings end. False if some are left."""
    device = space.device
    if device is not None:
        core.io_changed()
        core.ram.set_word(core.kernel.io_space_word(device), 0)
        space.device_word = 0
    return mappings.empty(core, space, work, lives=False)


def translate(ram: Ram, device: int, address: int) -> Span | None:
    """What a device sees at an address of its IOSpace; None for nothing. Stores nothing (hw/iommu.py asks this)."""
    kernel = KernelRecord.of(ram)
    if not 0 <= device < kernel.device_count or not 0 <= address < IO_MAPPING_END:
        return None
    space = kernel.io_space(device)
    mapping = mapping_table.find(space, address) if space is not None else None
    if mapping is None:
        return None
    frame = ram.word(mapping.slot) & OBJECT_MASK
    readable, writable = bool(mapping.rights & Rights.READ), bool(mapping.rights & Rights.WRITE)
    into = address - mapping.address
    return Span(frame + into, mapping.end - address, readable, writable, into)
