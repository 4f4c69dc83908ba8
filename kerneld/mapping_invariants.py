"""What is true of mappings between any two transactions: no capability and no table speaks of a mapping that is not.

Predicates as in `invariants.py`, which runs them. RAM may be a damaged image: nothing here trusts what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from hw.ram import Ram
from kerneld import mapping_table
from kerneld.capability_invariants import describe
from kerneld.mapping_table import Mapping
from kerneld.predicates import Finding, Registry
from kerneld.records import CapType, IoSpace, MappingNode, MappingSpace, VSpace
from kerneld.survey import Survey
from libsel4py.abi import IO_MAPPING_END, MAPPING_BASE, MAPPING_END

PREDICATES = Registry()
predicate = PREDICATES.predicate


class _Kind(NamedTuple):
    """A type of spaces, its record, and the addresses at which frames are mapped there."""

    type: CapType
    record: Callable[[Ram, int], MappingSpace]
    base: int
    end: int


_KINDS: Final = (
    _Kind(CapType.VSPACE, VSpace, MAPPING_BASE, MAPPING_END),
    _Kind(CapType.IO_SPACE, IoSpace, 0, IO_MAPPING_END),
)


def _spaces(found: Survey) -> Iterator[tuple[_Kind, MappingSpace]]:
    for kind in _KINDS:
        for address, cap in found.of_type(kind.type).items():
            space = kind.record(found.ram, address)
            if space.size_bits == cap.size_bits:  # else "mapping-table" says so
                yield kind, space


def _mappings(space: MappingSpace) -> Iterator[Mapping]:
    for address in mapping_table.nodes(space):
        yield mapping_table.read(space, address)


@predicate("space-size", "A VSpace or IOSpace knows the size that its capabilities say.")
def _space_size(found: Survey) -> Finding:
    for kind in _KINDS:
        for address, cap in found.of_type(kind.type).items():
            size_bits = MappingSpace(found.ram, address).size_bits
            if size_bits != cap.size_bits:
                yield f"{kind.type.name} 0x{address:x} of 2**{cap.size_bits} bytes says 2**{size_bits}"


@predicate(
    "mapping-table",
    "The mappings of a space are a balanced tree by address; each node that has been used is in it, or free.",
)
def _mapping_table(found: Survey) -> Finding:
    for _, space in _spaces(found):
        at = f"space 0x{space.address:x}"
        nodes = mapping_table.nodes(space)
        if len(nodes) != space.mapping_count:
            yield f"{at} says {space.mapping_count} mappings and has {len(nodes)}"
        free = _free(space)
        if len(nodes) + len(free) != space.nodes_used or nodes.keys() & free.keys():
            yield f"{at} has used {space.nodes_used} nodes; {len(nodes)} are in the tree and {len(free)} are free"
        if any(node.slot is not None for node in free.values()):
            yield f"{at} has a free node that names a slot"
        yield from _misplaced(space, nodes)


def _free(space: MappingSpace) -> dict[int, MappingNode]:
    free: dict[int, MappingNode] = {}
    node = space.free_nodes
    while node is not None and node.address not in free and mapping_table.is_node(space, node.address):
        free[node.address] = node
        node = node.higher
    return free


def _misplaced(space: MappingSpace, nodes: dict[int, MappingNode]) -> Finding:
    """Nodes whose heights or order are wrong; what the tree cannot reach is not looked at."""
    heights = {address: node.height for address, node in nodes.items()}
    pending = [(space.root, 0, 1 << 64)]
    steps = len(nodes)
    while pending and steps:
        node, low, high = pending.pop()
        if node is None or node.address not in nodes:
            continue
        steps -= 1
        address = mapping_table.read(space, node.address).address
        lower, higher = node.lower, node.higher
        below = [heights.get(child.address, 0) if child is not None else 0 for child in (lower, higher)]
        if not low <= address < high:
            yield f"the mapping of 0x{address:x} is out of order in space 0x{space.address:x}"
        if abs(below[0] - below[1]) > 1 or node.height != 1 + max(below):
            yield f"the mapping of 0x{address:x} in space 0x{space.address:x} is {node.height} high, over {below}"
        pending += [(lower, low, address), (higher, address + 1, high)]


@predicate("mapping-place", "Mappings of a space are aligned, inside of where frames can be mapped, and apart.")
def _mapping_place(found: Survey) -> Finding:
    for kind, space in _spaces(found):
        end = kind.base
        for mapping in sorted(_mappings(space)):
            if mapping.address % (1 << mapping.size_bits):
                yield f"the mapping of 0x{mapping.address:x} in space 0x{space.address:x} is not aligned"
            if mapping.address < end or mapping.end > kind.end:
                yield f"the mapping of 0x{mapping.address:x} in space 0x{space.address:x} overlaps, or is outside"
            end = mapping.end


@predicate(
    "mapping-capability",
    "Each mapping names the slot of a frame capability that is mapped there, has its size, and its rights.",
)
def _mapping_capability(found: Survey) -> Finding:
    if not found.is_complete:
        return
    for kind, space in _spaces(found):
        for mapping in _mappings(space):
            at = f"the mapping of 0x{mapping.address:x} in space 0x{space.address:x}"
            held = found.slots.get(mapping.slot)
            if held is None or not held.cap.is_mapped:
                yield f"{at} names slot 0x{mapping.slot:x}, which holds no mapped capability"
                continue
            cap = held.cap
            by_io = kind.type is CapType.IO_SPACE
            if (cap.mapped_space, cap.mapped_address, cap.is_mapped_by_io) != (space.address, mapping.address, by_io):
                yield f"{at} names {describe(held)}, which is mapped elsewhere"
            if cap.frame_size_bits != mapping.size_bits or mapping.rights & ~cap.rights:
                yield f"{at} has another size, or more rights, than {describe(held)}"


@predicate("mapped-capability", "A frame capability that is mapped is in the table of a space that is alive.")
def _mapped_capability(found: Survey) -> Finding:
    if not found.is_complete:
        return
    in_tables = {
        (mapping.slot, space.address, mapping.address) for _, space in _spaces(found) for mapping in _mappings(space)
    }
    for held in found.holding(CapType.FRAME):
        if not held.word1:
            continue
        cap = held.cap
        if cap.is_mapped and (held.address, cap.mapped_space, cap.mapped_address) not in in_tables:
            where = f"at 0x{cap.mapped_address:x} of space 0x{cap.mapped_space:x}"
            yield f"{describe(held)} says that it is mapped {where}, and is not"
