"""The table of what is mapped into a VSpace or an IOSpace: a balanced tree (AVL) by address, in the space's own memory.

Mappings never overlap; each is aligned to its size. Rules: every function takes O(log n) steps and stores, but `walk`,
which stores nothing; a space's user pays for the table by the size that it made the space of. What a mapping means to
its capability and to the host is `mappings.py`'s matter: nothing here looks into a slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from kerneld.failures import KernelBug
from kerneld.records import NODE_MASK, MappingNode, MappingSpace, Slot
from libsel4py import abi

_LOW: Final = (1 << abi.FRAME_MIN_BITS) - 1
_SIZE_MASK: Final = 31
_RIGHTS_SHIFT: Final = 5
_ATTRIBUTES_SHIFT: Final = 7
_SLOT: Final = 8
_LOWER: Final = 16
_HIGHER: Final = 24
_HEIGHT_SHIFT: Final = 40

_Path = list[tuple[int, int]]  # from the root down: a node, and by which of its links (_LOWER, _HIGHER) it is left


class Mapping(NamedTuple):
    """One mapping: first address, log2 of its bytes, Rights (Read and Write, or none), VmAttributes, and the address of
    the slot that holds the frame capability."""

    address: int
    size_bits: int
    rights: int
    attributes: int
    slot: int

    @property
    def end(self) -> int:
        return self.address + (1 << self.size_bits)


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
    ram.set_word(node + _LOWER, 1 << _HEIGHT_SHIFT)
    space.mapping_count = space.mapping_count + 1
    _retrace(space, path, node)


def remove(space: MappingSpace, address: int) -> Mapping:
    """Take out the mapping that begins at an address, which there is."""
    ram = space.ram
    path, node = _descend(space, address)
    if not node:
        raise _unknown(space, address)
    mapping = read(space, node)
    lower, higher = ram.word(node + _LOWER) & NODE_MASK, ram.word(node + _HIGHER)
    if lower and higher:  # the next mapping in order takes its place, and that one's node goes
        path.append((node, _HIGHER))
        heir = higher
        while below := ram.word(heir + _LOWER) & NODE_MASK:
            path.append((heir, _LOWER))
            heir = below
        ram.set_word(node, ram.word(heir))
        ram.set_word(node + _SLOT, ram.word(heir + _SLOT))
        node, lower, higher = heir, 0, ram.word(heir + _HIGHER)
    _free_node(space, node)
    space.mapping_count = space.mapping_count - 1
    _retrace(space, path, lower or higher)
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
        where >> _ATTRIBUTES_SHIFT & 7,
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


def _descend(space: MappingSpace, address: int) -> tuple[_Path, int]:
    """The way from the root to the node that begins at an address, and that node; 0 where it would be put."""
    ram = space.ram
    path: _Path = []
    root = space.root
    node = root.address if root is not None else 0
    while node:
        here = ram.word(node) & ~_LOW
        if here == address:
            break
        link = _LOWER if address < here else _HIGHER
        path.append((node, link))
        node = ram.word(node + link) & NODE_MASK
    return path, node


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


def _retrace(space: MappingSpace, path: _Path, child: int) -> None:
    """Hang ``child`` below the end of the path, and balance upwards as far as heights change."""
    word, set_word = space.ram.word, space.ram.set_word
    while path:
        node, link = path.pop()
        lower, higher = before, other = word(node + _LOWER), word(node + _HIGHER)
        if link == _LOWER:
            lower = before & ~NODE_MASK | child
        else:
            higher = child
        below = lower & NODE_MASK
        left = word(below + _LOWER) >> _HEIGHT_SHIFT if below else 0
        right = word(higher + _LOWER) >> _HEIGHT_SHIFT if higher else 0
        height = 1 + (left if left > right else right)
        if higher != other:
            set_word(node + _HIGHER, higher)
        if -1 <= left - right <= 1:
            now = height << _HEIGHT_SHIFT | below
            if now != before:
                set_word(node + _LOWER, now)
            if height == before >> _HEIGHT_SHIFT:
                return
            child = node
        else:
            if lower != before:
                set_word(node + _LOWER, lower)
            child = _balance(space, node)
    space.root = MappingNode(space.ram, child) if child else None


def _set_link(space: MappingSpace, node: int, link: int, child: int) -> None:
    ram = space.ram
    before = ram.word(node + link)
    now = before & ~NODE_MASK | child if link == _LOWER else child
    if now != before:
        ram.set_word(node + link, now)


def _height(space: MappingSpace, node: int) -> int:
    return space.ram.word(node + _LOWER) >> _HEIGHT_SHIFT if node else 0


def _links(space: MappingSpace, node: int) -> tuple[int, int]:
    ram = space.ram
    return ram.word(node + _LOWER) & NODE_MASK, ram.word(node + _HIGHER)


def _measure(space: MappingSpace, node: int) -> None:
    """Set a node's height from its children's."""
    lower, higher = _links(space, node)
    now = 1 + max(_height(space, lower), _height(space, higher)) << _HEIGHT_SHIFT | lower
    if now != space.ram.word(node + _LOWER):
        space.ram.set_word(node + _LOWER, now)


def _balance(space: MappingSpace, node: int) -> int:
    """The heights of a node's children differ by two: turn it; returns the node that is on top then."""
    lower, higher = _links(space, node)
    leans_low = _height(space, lower) > _height(space, higher)
    heavy, link, other = (lower, _LOWER, _HIGHER) if leans_low else (higher, _HIGHER, _LOWER)
    inner, outer = (space.ram.word(heavy + side) & NODE_MASK for side in (other, link))
    if _height(space, inner) > _height(space, outer):
        _set_link(space, node, link, _rotate(space, heavy, other))
    return _rotate(space, node, link)


def _rotate(space: MappingSpace, node: int, link: int) -> int:
    """Put a node's child at ``link`` into its place, and the node below that; returns the child."""
    ram = space.ram
    other = _HIGHER if link == _LOWER else _LOWER
    child = ram.word(node + link) & NODE_MASK
    _set_link(space, node, link, ram.word(child + other) & NODE_MASK)
    _set_link(space, child, other, node)
    _measure(space, node)
    _measure(space, child)
    return child
