"""The table of what is mapped into a VSpace or an IOSpace: a balanced tree (AVL) by address, in the space's own memory.

Mappings never overlap; each is aligned to its size. Rules: every function takes O(log n) steps and stores, but `walk`,
which stores nothing; a space's user pays for the table by the size that it made the space of. What a mapping means to
its capability and to the host is `mappings.py`'s matter: nothing here looks into a slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from kerneld import balanced_tree
from kerneld.balanced_tree import HIGHER as _HIGHER
from kerneld.balanced_tree import LOWER as _LOWER
from kerneld.balanced_tree import Path
from kerneld.failures import KernelBug
from kerneld.records import NODE_MASK, MappingNode, MappingSpace, Slot
from libsel4py import abi

_LOW: Final = (1 << abi.FRAME_MIN_BITS) - 1
_SIZE_MASK: Final = 31
_RIGHTS_SHIFT: Final = 5
_ATTRIBUTES_SHIFT: Final = 7
_SLOT: Final = 8
REGISTERS: Final = 8  # beside VmAttributes: a device's registers, which the host never maps


class Mapping(NamedTuple):
    """One mapping: first address, log2 of its bytes, Rights (Read and Write, or none), VmAttributes with `REGISTERS`,
    and the address of the slot that holds the frame capability."""

    address: int
    size_bits: int
    rights: int
    attributes: int
    slot: int

    @property
    def end(self) -> int:
        return self.address + (1 << self.size_bits)

    @property
    def is_registers(self) -> bool:
        """Whether each access is a device's matter, and nothing is mapped at the host."""
        return bool(self.attributes & REGISTERS)


def find(space: MappingSpace, address: int) -> Mapping | None:
    """The mapping that covers an address."""
    node = _last_up_to(space, address)
    if not node:
        return None
    mapping = read(space, node)
    return mapping if address < mapping.end else None


def overlapping(space: MappingSpace, address: int, size: int) -> Mapping | None:
    """A mapping that has bytes in common with ``size`` bytes from ``address`` on; the last one of them."""
    node = _last_up_to(space, address + size - 1)
    if not node:
        return None
    mapping = read(space, node)
    return mapping if mapping.end > address else None


def first(space: MappingSpace) -> Mapping | None:
    """The mapping with the lowest address."""
    ram = space.ram
    at = space.root
    if at is None:
        return None
    node = at.address
    while below := ram.word(node + _LOWER) & NODE_MASK:
        node = below
    return read(space, node)


def following(space: MappingSpace, address: int) -> Mapping | None:
    """The first mapping that begins at this address or behind it."""
    ram = space.ram
    root = space.root
    node = root.address if root is not None else 0
    best = 0
    while node:
        if ram.word(node) & ~_LOW >= address:
            best = node
            node = ram.word(node + _LOWER) & NODE_MASK
        else:
            node = ram.word(node + _HIGHER)
    return read(space, best) if best else None


def is_full(space: MappingSpace) -> bool:
    return space.mapping_count >= space.mapping_capacity


def insert(space: MappingSpace, mapping: Mapping) -> None:
    """Add a mapping. The caller has looked that the table is not full and nothing overlaps."""
    ram = space.ram
    path, at = _descend(space, mapping.address)
    if at or is_full(space):
        raise KernelBug(f"0x{mapping.address:x} is mapped already in space 0x{space.address:x}, or its table is full")
    node = _take_node(space)
    ram.set_word(node, _where(mapping))
    ram.set_word(node + _SLOT, mapping.slot)
    space.mapping_count = space.mapping_count + 1
    _set_root(space, balanced_tree.put_in(ram, path, node))


def remove(space: MappingSpace, address: int) -> Mapping:
    """Take out the mapping that begins at an address, which there is."""
    ram = space.ram
    path, node = _descend(space, address)
    if not node:
        raise _unknown(space, address)
    mapping = read(space, node)
    _set_root(space, balanced_tree.take_out(ram, path, node))
    _free_node(space, node)
    space.mapping_count = space.mapping_count - 1
    return mapping


def set_access(space: MappingSpace, address: int, rights: int, attributes: int) -> Mapping:
    """Give the mapping that begins at an address other rights and attributes; returns it as it was."""
    node = _exactly(space, address)
    mapping = read(space, node)
    space.ram.set_word(node, _where(mapping._replace(rights=rights, attributes=attributes)))
    return mapping


def set_slot(space: MappingSpace, address: int, slot: Slot) -> None:
    """The capability of the mapping that begins at an address is in another slot now."""
    space.ram.set_word(_exactly(space, address) + _SLOT, slot.address)


def walk(space: MappingSpace) -> Iterator[Mapping]:
    """All mappings by rising address. RAM must be sound, and the table not be changed meanwhile."""
    ram = space.ram
    above: list[int] = []
    node = space.root.address if space.root is not None else 0
    while node or above:
        while node:
            above.append(node)
            node = ram.word(node + _LOWER) & NODE_MASK
        node = above.pop()
        yield read(space, node)
        node = ram.word(node + _HIGHER)


def nodes(space: MappingSpace) -> dict[int, MappingNode]:
    """The nodes that the tree leads to, each once, by address: for readers of RAM that may be damaged."""
    found: dict[int, MappingNode] = {}
    pending = [space.root]
    while pending:
        node = pending.pop()
        if node is not None and node.address not in found and is_node(space, node.address):
            found[node.address] = node
            pending += [node.lower, node.higher]
    return found


def is_node(space: MappingSpace, address: int) -> bool:
    """Whether it is the address of a node of the table that is, or was, in use."""
    number, rest = divmod(address - space.address - MappingSpace.NODES, MappingNode.SIZE)
    return not rest and 0 <= number < min(space.nodes_used, space.mapping_capacity)


def read(space: MappingSpace, node: int) -> Mapping:
    """The mapping in the node at an address of RAM."""
    where = space.ram.word(node)
    return Mapping(
        where & ~_LOW,
        (where & _SIZE_MASK) + abi.FRAME_MIN_BITS,
        where >> _RIGHTS_SHIFT & 3,
        where >> _ATTRIBUTES_SHIFT & 15,
        space.ram.word(node + _SLOT),
    )


def _where(mapping: Mapping) -> int:
    low = mapping.size_bits - abi.FRAME_MIN_BITS | mapping.rights << _RIGHTS_SHIFT
    return mapping.address | low | mapping.attributes << _ATTRIBUTES_SHIFT


def _last_up_to(space: MappingSpace, address: int) -> int:
    """The node with the highest address up to this one; 0 if there is none."""
    ram = space.ram
    root = space.root
    node = root.address if root is not None else 0
    best = 0
    while node:
        if ram.word(node) & ~_LOW <= address:
            best = node
            node = ram.word(node + _HIGHER)
        else:
            node = ram.word(node + _LOWER) & NODE_MASK
    return best


def _descend(space: MappingSpace, address: int) -> tuple[Path, int]:
    """The way from the root to the node that begins at an address, and that node; 0 where it would be put."""
    root = space.root
    return balanced_tree.descend(space.ram, root.address if root is not None else 0, address, ~_LOW)


def _set_root(space: MappingSpace, top: int | None) -> None:
    if top is not None:
        space.root = MappingNode(space.ram, top) if top else None


def _exactly(space: MappingSpace, address: int) -> int:
    node = _last_up_to(space, address)
    if not node or space.ram.word(node) & ~_LOW != address:
        raise _unknown(space, address)
    return node


def _unknown(space: MappingSpace, address: int) -> KernelBug:
    return KernelBug(f"nothing is mapped at 0x{address:x} in space 0x{space.address:x}, and a capability says so")


def _take_node(space: MappingSpace) -> int:
    """A node that is free, with no link set."""
    ram = space.ram
    node = space.free_nodes
    if node is None:
        used = space.nodes_used
        space.nodes_used = used + 1
        return space.address + MappingSpace.NODES + used * MappingNode.SIZE
    space.free_nodes = node.higher
    ram.set_word(node.address + _HIGHER, 0)
    return node.address


def _free_node(space: MappingSpace, node: int) -> None:
    ram = space.ram
    after = space.free_nodes
    ram.set_word(node, 0)
    ram.set_word(node + _SLOT, 0)
    ram.set_word(node + _LOWER, 0)
    ram.set_word(node + _HIGHER, after.address if after is not None else 0)
    space.free_nodes = MappingNode(ram, node)
