"""What is true of capabilities, the derivation order, untyped memory and the kernel's own tables.

RAM may be a damaged image: nothing here trusts what it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kerneld import caps, layout, mdb
from kerneld.caps import Cap
from kerneld.interrupts import IRQ_PENDING
from kerneld.predicates import Finding, Registry
from kerneld.records import (
    IRQ_MASKED,
    OUTBOX_ENTRIES,
    CapType,
    IoSpace,
    IrqState,
    KernelRecord,
    Slot,
)
from kerneld.survey import Held, Region, Survey
from libsel4py import abi

PREDICATES = Registry()
LAST_TYPE: Final = max(CapType)
predicate = PREDICATES.predicate


def describe(held: Held) -> str:
    """A slot for people."""
    try:
        name = CapType(held.kind).name
    except ValueError:
        name = f"type {held.kind}"
    return f"slot 0x{held.address:x} ({name} 0x{held.word0 & caps.OBJECT_MASK:x})"


@predicate("followable", "Every address in a record leads to memory that can hold what it should.")
def _followable(found: Survey) -> Finding:
    yield from found.damage


@predicate("empty-slot", "An empty slot has no second word and no place in the derivation order.")
def _empty_slot(found: Survey) -> Finding:
    for address in found.stray:
        yield f"slot 0x{address:x} is empty and not zero"


@predicate("cap-type", "Every capability has a type that exists.")
def _cap_type(found: Survey) -> Finding:
    for held in found.slots.values():
        if held.kind > LAST_TYPE:
            yield describe(held)


@predicate("cap-object", "A capability's object is aligned to its size and lies in user memory; a device's does not.")
def _cap_object(found: Survey) -> Finding:
    kernel = KernelRecord.of(found.ram)
    size, user_base = kernel.ram_bytes, kernel.user_base
    for held in found.slots.values():
        cap = held.cap
        region = caps.region(cap) if held.kind <= LAST_TYPE else None
        if region is None:
            continue
        address, length = region
        if address % length and held.kind != CapType.ZOMBIE:
            yield f"{describe(held)} is not aligned to its {length} bytes"
        on_device = (held.kind == CapType.UNTYPED and cap.is_device) or (
            held.kind == CapType.FRAME and cap.frame_is_device
        )
        if not on_device and not user_base <= address <= address + length <= size:
            yield f"{describe(held)} of {length} bytes is outside of user memory"
        if on_device and address < size and address + length > user_base:
            yield f"{describe(held)} of {length} bytes of a device lies in RAM"


@predicate("order-linked", "The neighbours of a slot in the derivation order name it as their neighbour.")
def _order_linked(found: Survey) -> Finding:
    for held in found.slots.values():
        if held.next:
            after = found.slots.get(held.next)
            if after is None or after.prev != held.address:
                yield f"{describe(held)} is followed by 0x{held.next:x}, which does not say so"
        if held.prev:
            before = found.slots.get(held.prev)
            if before is None or before.next != held.address:
                yield f"{describe(held)} follows 0x{held.prev:x}, which does not say so"


@predicate("order-acyclic", "The derivation order has beginnings: no slot comes before itself.")
def _order_acyclic(found: Survey) -> Finding:
    reached = sum(1 for _ in _in_order(found))
    if reached != len(found.slots):
        yield f"{len(found.slots) - reached} slots are in no list that has a beginning"


def _in_order(found: Survey) -> Iterator[Held]:
    """Every slot, list by list, in the derivation order; each once."""
    seen: set[int] = set()
    for head in found.heads():
        at: Held | None = head
        while at is not None and at.address not in seen:
            seen.add(at.address)
            yield at
            at = found.slots.get(at.next)


@predicate("object-together", "All capabilities to one object are neighbours, so that the last one can be told.")
def _object_together(found: Survey) -> Finding:
    seen: set[tuple[int, int]] = set()
    last: tuple[int, int] | None = None
    for held in _in_order(found):
        identity = mdb.identity(held.cap)
        if identity is not None and identity != last and identity in seen:
            yield f"{describe(held)} stands apart from another capability to the same object"
        if identity is not None:
            seen.add(identity)
        last = identity


@predicate("free-index", "The free index of untyped memory is not larger than the memory.")
def _free_index(found: Survey) -> Finding:
    for held in found.holding(CapType.UNTYPED):
        if held.word1 > 1 << held.cap.size_bits:
            yield f"{describe(held)} has {1 << held.cap.size_bits} bytes and a free index of {held.word1}"


@predicate("inside-parent", "What was made from untyped memory lies inside the part that its free index covers.")
def _inside_parent(found: Survey) -> Finding:
    for parent, held, (start, length) in _regions_in_order(found):
        if parent is not None and start + length > parent.cap.object + parent.word1:
            yield f"{describe(held)} reaches past the free index {parent.word1} of {describe(parent)}"


@predicate("disjoint", "Objects do not overlap, unless one is untyped memory that the other was made from.")
def _disjoint(found: Survey) -> Finding:
    families: dict[int, dict[tuple[int, int], Held]] = {}
    for parent, held, region in _regions_in_order(found):
        families.setdefault(parent.address if parent else 0, {}).setdefault(region, held)
    for family in families.values():
        end, before = 0, None
        for (start, length), held in sorted(family.items(), key=lambda item: item[0]):
            if start < end and before is not None:
                yield f"{describe(held)} overlaps {describe(before)}"
            end, before = start + length, held


def _regions_in_order(found: Survey) -> list[Region]:
    """What has memory, in derivation order."""
    if found.regions is None:
        found.regions = list(_find_regions(found))
    return found.regions


def _find_regions(found: Survey) -> Iterator[Region]:
    for head in found.heads():
        above: list[Held] = []
        at: Held | None = head
        steps = len(found.slots)
        while at is not None and steps:
            steps -= 1
            region = caps.region(at.cap) if at.kind <= LAST_TYPE else None
            if region is not None:
                while above and not mdb.same_region(above[-1].cap, at.cap):
                    above.pop()
                yield above[-1] if above else None, at, region
                if at.kind == CapType.UNTYPED:
                    above.append(at)
            at = found.slots.get(at.next)


@predicate("zombie", "A zombie covers no more slots than its object has; those that it no longer covers are empty.")
def _zombie(found: Survey) -> Finding:
    for held in found.holding(CapType.ZOMBIE):
        cap: Cap = held.cap
        total = cap.zombie_slots
        left = cap.word1
        if left > total:
            yield f"{describe(held)} covers {left} slots of {total}"
        elif any(found.ram.read(cap.object + left * Slot.SIZE, (total - left) * Slot.SIZE)):
            yield f"{describe(held)} has slots behind the {left} that it covers"


@predicate("interrupts", "A line is in use while its handler capability exists; what it signals is a notification.")
def _interrupts(found: Survey) -> Finding:
    if not found.is_complete:
        return
    kernel = KernelRecord.of(found.ram)
    issued = {held.word1 for held in found.holding(CapType.IRQ_HANDLER)}
    states = found.ram.words(kernel.address + KernelRecord.IRQ_STATES, abi.IRQS)
    for line, state in enumerate(states):
        if state & ~(IRQ_MASKED | IRQ_PENDING) != (IrqState.SIGNAL if line in issued else IrqState.INACTIVE):
            yield f"line {line} is in state 0x{state:x}, with{'' if line in issued else 'out'} a handler capability"
        kind = kernel.irq_slot(line).cap_type
        if kind not in (CapType.NULL, CapType.NOTIFICATION) or (kind and line not in issued):
            yield f"line {line} signals a capability of type {kind}"


@predicate("io-ports", "The ports that are marked as given out are those that capabilities cover.")
def _io_ports(found: Survey) -> Finding:
    if not found.is_complete:
        return
    covered: set[int] = set()
    for held in found.holding(CapType.IO_PORT):
        covered.update(range(held.cap.first_port, held.cap.last_port + 1))
    bitmap = found.ram.read(KernelRecord.of(found.ram).address + KernelRecord.IO_PORT_BITMAP, abi.IO_PORTS // 8)
    if int.from_bytes(bitmap, "little") != sum(1 << port for port in covered):
        yield "the bitmap of ports differs from the capabilities"


@predicate("io-spaces", "A device's IOSpace says that it is that device's, and each IOSpace that says so is.")
def _io_spaces(found: Survey) -> Finding:
    if not found.is_complete:
        return
    kernel = KernelRecord.of(found.ram)
    spaces = {address: IoSpace(found.ram, address).device for address in found.of_type(CapType.IO_SPACE)}
    assigned = found.ram.words(kernel.io_space_word(0), layout.DEVICE_RECORD_COUNT)
    for device, address in enumerate(assigned):
        if address and spaces.get(address) != device:
            yield f"device {device} does DMA by 0x{address:x}, which is no IOSpace of it"
    for address, number in spaces.items():
        if number is not None and not (number < kernel.device_count and assigned[number] == address):
            yield f"the IOSpace 0x{address:x} says that it is device {number}'s"


@predicate("outbox", "The outbox holds at most as many messages as it has room for.")
def _outbox(found: Survey) -> Finding:
    length = KernelRecord.of(found.ram).outbox_length
    if length > OUTBOX_ENTRIES:
        yield f"it says {length} of {OUTBOX_ENTRIES}"
