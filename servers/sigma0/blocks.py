"""Memory by physical address: an untyped that is split in halves until the wanted page is one of them.

Rules: a half is split when a page within it is wanted, and nothing is joined again: what was handed out stays so.
"""

from __future__ import annotations

from dataclasses import dataclass

from libsel4py.abi import FRAME_MIN_BITS, ObjectType
from libsel4py.capabilities import CNode, Frame, Untyped
from libsel4py.lowlevel.cspace import SlotAllocator


@dataclass(frozen=True, slots=True)
class Block:
    """A whole untyped of 2**``bits`` bytes at a physical address."""

    address: int
    bits: int
    slot: int


class Blocks:
    """The memory of one untyped capability that has no children."""

    def __init__(self, cnode: CNode, slots: SlotAllocator, untyped: Untyped, bits: int) -> None:
        self._cnode, self._slots = cnode, slots
        self._free = [Block(self._address(untyped), bits, untyped.cptr)]

    @property
    def free_bytes(self) -> int:
        return sum(1 << block.bits for block in self._free)

    def take(self, address: int, bits: int) -> Frame | None:
        """The frame at an address, if all of it is free. Raises KernelError, OutOfSlots."""
        end = address + (1 << bits)
        for block in self._free:
            if block.address <= address and end <= block.address + (1 << block.bits):
                return self._take(block, address, bits)
        return None

    def take_any(self, bits: int) -> tuple[int, Frame] | None:
        """The frame at the lowest address of the smallest free block that has room. Raises as `take`."""
        fitting = [block for block in self._free if block.bits >= bits]
        if bits < FRAME_MIN_BITS or not fitting:
            return None
        block = min(fitting, key=lambda each: (each.bits, each.address))
        return block.address, self._take(block, block.address, bits)

    def _take(self, block: Block, address: int, bits: int) -> Frame:
        while block.bits > bits:
            low, high = self._split(block)
            block = high if address >= high.address else low
        slot = self._slots.allocate()
        try:
            Untyped(block.slot).retype(ObjectType.FRAME, bits, self._cnode, slot)
        except BaseException:
            self._slots.free(slot)
            raise
        self._free.remove(block)
        return Frame(slot)

    def _split(self, block: Block) -> tuple[Block, Block]:
        slots, bits = self._slots.allocate_range(2), block.bits - 1
        try:
            Untyped(block.slot).retype(ObjectType.UNTYPED, bits, self._cnode, slots.start, 2)
        except BaseException:
            self._slots.free_range(slots)
            raise
        low = Block(block.address, bits, slots[0])
        high = Block(block.address + (1 << bits), bits, slots[1])
        self._free.remove(block)
        self._free += [low, high]
        return low, high

    def _address(self, untyped: Untyped) -> int:
        """Where an untyped lies: a frame that is made of it and deleted again tells."""
        slot = self._slots.allocate()
        untyped.retype(ObjectType.FRAME, FRAME_MIN_BITS, self._cnode, slot)
        address = Frame(slot).get_address()
        self._cnode.delete(slot)
        self._slots.free(slot)
        return address
