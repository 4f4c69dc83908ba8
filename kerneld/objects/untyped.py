"""Untyped: memory that a user makes objects of (manual 2.4; `decodeUntypedInvocation`, `resetUntypedCap`).

A capability's free index says how many bytes from the start are taken; it only grows, until no object made from
the memory is left: then the next Retype zeroes what was used and begins at the start again. Memory above the free
index is zero at all times, so that a new object's record needs hardly a store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kerneld import caps, mdb, slot_arguments
from kerneld.caps import Cap
from kerneld.core import PREEMPTED, Call, Core, Invocation, Result
from kerneld.failures import (
    LookupFailure,
    SyscallError,
    illegal_operation,
    invalid_argument,
    range_error,
    truncated_message,
)
from kerneld.records import CapType, IoSpace, SchedContext, Slot, Tcb, VSpace
from kerneld.refusals import NotEnoughMemory
from kerneld.work import Work
from libsel4py import abi
from libsel4py.abi import Label, LookupFailureKind, ObjectType, object_size_bits

RESET_CHUNK: Final = 1 << 20  # bytes zeroed between two looks at the work that is left
RESET_CHUNK_UNITS: Final = 32  # where all of it is there: what is none costs next to nothing

VSPACE_MAX_BITS: Final = 38
IO_SPACE_MAX_BITS: Final = 30
# Smallest and largest size_bits of the types that have a choice.
_SIZES: Final[dict[ObjectType, tuple[int, int]]] = {
    ObjectType.CNODE: (1, abi.UNTYPED_MAX_BITS),
    ObjectType.UNTYPED: (abi.UNTYPED_MIN_BITS, abi.UNTYPED_MAX_BITS),
    ObjectType.SCHED_CONTEXT: (abi.SCHED_CONTEXT_MIN_BITS, abi.UNTYPED_MAX_BITS),
    ObjectType.FRAME: (abi.FRAME_MIN_BITS, abi.FRAME_MAX_BITS),
    ObjectType.VSPACE: (abi.VSPACE_MIN_BITS, VSPACE_MAX_BITS),
    ObjectType.IO_SPACE: (abi.IO_SPACE_MIN_BITS, IO_SPACE_MAX_BITS),
}
_ON_DEVICE: Final = (ObjectType.UNTYPED, ObjectType.FRAME)


@dataclass(frozen=True, slots=True)
class Retype:
    """Make ``count`` objects from byte ``start`` of the memory on, with capabilities in the slots from ``first`` on."""

    slot: Slot
    object_type: ObjectType
    size_bits: int
    start: int
    reset: bool
    first: int
    count: int
    domain: int

    def perform(self, core: Core) -> Result:
        if self.reset and not reset(core, self.slot, Work()):
            return PREEMPTED
        memory = caps.read(self.slot)
        step = 1 << object_size_bits(self.object_type, self.size_bits)
        self.slot.word1 = self.start + self.count * step
        address = memory.object + self.start
        for number in range(self.count):
            cap = self._make(core, address + number * step, memory.is_device)
            mdb.insert_new(core, self.slot, core.slot(self.first + number * Slot.SIZE), cap)
        return ()

    def _make(self, core: Core, address: int, is_device: bool) -> Cap:
        """Initialise one object's record and return its first capability."""
        bits = self.size_bits
        match self.object_type:
            case ObjectType.UNTYPED:
                return caps.untyped(address, bits, is_device)
            case ObjectType.TCB:
                Tcb(core.ram, address).domain = self.domain
                return caps.tcb(address)
            case ObjectType.ENDPOINT:
                return caps.endpoint(address)
            case ObjectType.NOTIFICATION:
                return caps.notification(address)
            case ObjectType.CNODE:
                return caps.cnode(address, bits)
            case ObjectType.SCHED_CONTEXT:
                SchedContext(core.ram, address).size_bits = bits
                return caps.sched_context(address, bits)
            case ObjectType.REPLY:
                return caps.reply(address)
            case ObjectType.FRAME:
                return caps.frame(address, bits, is_device=is_device)
            case ObjectType.VSPACE:
                VSpace(core.ram, address).size_bits = bits
                return caps.vspace(address, bits)
            case ObjectType.CHANNEL:
                return caps.channel(address)
            case ObjectType.DEATH_NOTICE:
                return caps.death_notice(address)
            case ObjectType.IO_SPACE:
                IoSpace(core.ram, address).size_bits = bits
                return caps.io_space(address, bits)


def decode(core: Core, call: Call) -> Invocation:
    """The checked Retype.

    Raises:
        SyscallError: in this order: ILLEGAL_OPERATION (label), TRUNCATED_MESSAGE, INVALID_ARGUMENT(0) (type),
            RANGE_ERROR (size), INVALID_ARGUMENT(1) (size of this type), FAILED_LOOKUP (destination), RANGE_ERROR
            (offset, count, window), DELETE_FIRST, NOT_ENOUGH_MEMORY (bytes left), INVALID_ARGUMENT(1) (kernel object
            on a device).
    """
    if call.label != Label.UNTYPED_RETYPE:
        raise illegal_operation(f"untyped memory has no method with label {call.label}")
    if len(call.words) < 6 or not call.caps:
        raise truncated_message("Retype takes six words and the destination's CNode capability")
    type_number, size_bits, node_index, node_depth, offset, count = call.words[:6]
    object_type = decode_type(type_number, size_bits)
    node = decode_destination(call.caps[0], node_index, node_depth)
    ensure_window(node, offset, count)
    first = node.object + offset * Slot.SIZE
    for number in range(count):
        slot_arguments.ensure_empty(core.slot(first + number * Slot.SIZE))
    memory = caps.read(call.slot)
    childless = not mdb.has_children(call.slot)
    free = 0 if childless else memory.free_index
    object_bits = object_size_bits(object_type, size_bits)
    ensure_memory(memory, free, object_bits, count)
    if memory.is_device and object_type not in _ON_DEVICE:
        raise invalid_argument(1, "device memory holds frames and untyped memory, and no kernel objects")
    start = -(-free >> object_bits) << object_bits
    needs_reset = childless and memory.free_index != 0
    return Retype(call.slot, object_type, size_bits, start, needs_reset, first, count, call.thread.domain)


def decode_type(type_number: int, size_bits: int) -> ObjectType:
    """The object type, with a size that it can have."""
    if type_number >= len(ObjectType):
        raise invalid_argument(0, f"there is no object type {type_number}")
    object_type = ObjectType(type_number)
    if size_bits >= abi.WORD_BITS or object_size_bits(object_type, size_bits) > abi.UNTYPED_MAX_BITS:
        raise range_error(0, abi.UNTYPED_MAX_BITS, f"an object has at most 2**{abi.UNTYPED_MAX_BITS} bytes")
    smallest, largest = _SIZES.get(object_type, (0, abi.WORD_BITS))
    if not smallest <= size_bits <= largest:
        raise invalid_argument(1, f"size_bits of {object_type.name} is {smallest}..{largest}, not {size_bits}")
    return object_type


def decode_destination(root: Slot, index: int, depth: int) -> Cap:
    """The CNode that takes the new capabilities: the root itself for depth 0."""
    cap = caps.read(root if depth == 0 else slot_arguments.lookup_slot(root, index, depth))
    if cap.word0 >> caps.TYPE_SHIFT != CapType.CNODE:
        failure = LookupFailure(LookupFailureKind.MISSING_CAPABILITY, (depth,), "the destination is not a CNode")
        raise SyscallError.failed_lookup(False, failure)
    return cap


def ensure_window(node: Cap, offset: int, count: int) -> None:
    """Raise RANGE_ERROR unless ``count`` slots from ``offset`` on are in the CNode."""
    slots = 1 << node.radix
    if offset >= slots:
        raise range_error(0, slots - 1, f"the destination CNode has {slots} slots; there is no slot {offset}")
    if not 1 <= count <= abi.RETYPE_MAX_OBJECTS:
        raise range_error(1, abi.RETYPE_MAX_OBJECTS, f"one Retype makes 1..{abi.RETYPE_MAX_OBJECTS} objects")
    if count > slots - offset:
        raise range_error(1, slots - offset, f"from slot {offset} on the destination has {slots - offset} slots")


def ensure_memory(memory: Cap, free: int, object_bits: int, count: int) -> None:
    """Raise NOT_ENOUGH_MEMORY unless the objects fit behind byte ``free``.

    Alignment needs no look: what fits also fits aligned, packed against the end of the memory.
    """
    left = (1 << memory.size_bits) - free
    if left >> object_bits < count:
        needed = count << object_bits
        raise NotEnoughMemory(
            needed, left, f"{count} objects of 2**{object_bits} bytes need {needed} bytes and {left} are left"
        )


def reset(core: Core, slot: Slot, work: Work) -> bool:
    """Zero what was used of childless memory and set its free index to 0, from the top down.

    Returns False if work is left: the free index says where to go on. Device memory keeps its contents.
    """
    memory = caps.read(slot)
    free = memory.free_index
    if memory.is_device:
        free = 0
        slot.word1 = 0
    while free:
        start = free - 1 & -RESET_CHUNK
        core.ram.zero(memory.object + start, free - start)
        free = slot.word1 = start
        if free and not work.spend(RESET_CHUNK_UNITS):
            return False
    return True
