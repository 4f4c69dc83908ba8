"""Properties of memory, addresses and derivation, each against a plain reference."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from hw.ram import Ram
from kerneld import caps, cspace, layout, mdb
from kerneld.failures import LookupFailure
from kerneld.records import CapType, Slot
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights
from tests.harness import Machine
from tests.model.addressing import Unresolved, resolve
from tests.model.capability import Capability, Kind
from tests.model.checkpoint import Checkpoint
from tests.model.derivation import Place
from tests.model.world import WINDOW, World, build

# --- memory is accounted for to the byte

SIZES = {
    ObjectType.UNTYPED: (4, 16),
    ObjectType.CNODE: (1, 6),
    ObjectType.SCHED_CONTEXT: (7, 9),
    ObjectType.FRAME: (12, 15),
    ObjectType.VSPACE: (12, 14),
}
retypes = st.lists(
    st.tuples(st.sampled_from(ObjectType), st.integers(0, 12), st.integers(1, 5), st.integers(0, 40), st.booleans()),
    min_size=1,
    max_size=25,
)
FIRST, LAST = 1000, 2000  # slots of the initial task's that the test fills


@cache
def machine() -> tuple[Machine, Checkpoint]:
    made = Machine(layout.MINIMUM_RAM, check=False, vspace_bits=abi.VSPACE_MIN_BITS)
    return made, Checkpoint.of(made)


def untyped_slots(on: Machine) -> list[int]:
    """The untyped memory that the initial task was given."""
    info = on.boot_info()
    return list(range(info[abi.BOOT_INFO_UNTYPED], info[abi.BOOT_INFO_UNTYPED + 1]))


def derived(parent: Slot) -> list[Slot]:
    """The slots of what was made from a capability, and from that in turn, in the kernel's order."""
    found = []
    at = parent.next
    while at is not None and mdb.is_mdb_parent_of(parent, at):
        found.append(at)
        at = at.next
    return found


def account(memory: Slot) -> int:
    """Bytes of untyped memory that are in objects, free, or lost to alignment. Nothing overlaps or is outside."""
    start, size = _region(memory)
    inside: dict[tuple[int, int], Slot] = {}
    covered = 0
    for slot in derived(memory):
        if any(mdb.is_mdb_parent_of(other, slot) or _same(other, slot) for other in inside.values()):
            continue  # a copy, or made from memory that was made from this
        region = _region(slot)
        assert region not in inside, "two objects in one place"
        inside[region] = slot
    for (begin, length), slot in inside.items():
        assert begin % length == 0, "objects are aligned to their size"
        assert start <= begin
        assert begin + length <= start + size, "an object is inside of what it was made from"
        covered += account(slot) if slot.cap_type == CapType.UNTYPED else length
    ends = sorted((begin, begin + length) for begin, length in inside)
    assert all(first[1] <= second[0] for first, second in pairwise(ends)), "objects overlap"
    return covered + size - sum(length for _, length in inside)


def _same(first: Slot, second: Slot) -> bool:
    return mdb.same_object(caps.read(first), caps.read(second))


def _region(slot: Slot) -> tuple[int, int]:
    region = caps.region(caps.read(slot))
    assert region is not None
    return region


@given(retypes)
def test_memory_is_accounted_for(plan: list[tuple[ObjectType, int, int, int, bool]]) -> None:
    on, checkpoint = machine()
    checkpoint.restore(on)
    memory = untyped_slots(on)
    held = list(memory)
    free = FIRST
    for object_type, extra, count, source, deletes in plan:
        smallest, largest = SIZES.get(object_type, (0, 0))
        bits = min(smallest + extra, largest)
        words = (object_type, bits, 0, 0, free, count)
        error, _ = on.root.invoke(held[source % len(held)], Label.UNTYPED_RETYPE, words, [InitialSlot.CNODE])
        if error:
            continue
        if object_type is ObjectType.UNTYPED:
            held += range(free, free + count)
        elif deletes:
            on.delete(free)
        free += count
    assert free < LAST
    total = sum(account(on.slot(slot)) for slot in memory)
    assert total + _initial_objects(on) == on.ram.size - layout.USER_BASE
    for slot in memory:
        on.revoke(slot)
        cap = caps.read(on.slot(slot))
        assert not mdb.has_children(on.slot(slot))
        whole = (ObjectType.UNTYPED, cap.size_bits, 0, 0, free, 1)
        assert on.root.invoke(slot, Label.UNTYPED_RETYPE, whole, [InitialSlot.CNODE])[0] == 0, "it is whole again"
        assert not any(on.ram.read(cap.object, 1 << cap.size_bits)), "and zero"
        on.delete(free)
    on.assert_invariants()


def _initial_objects(on: Machine) -> int:
    """Bytes of the objects that the initial task has from the beginning."""
    slots = (
        InitialSlot.TCB,
        InitialSlot.CNODE,
        InitialSlot.VSPACE,
        InitialSlot.BOOT_INFO_FRAME,
        InitialSlot.IPC_BUFFER,
        InitialSlot.SCHED_CONTEXT,
    )
    regions = [caps.region(caps.read(on.slot(slot))) for slot in slots]
    return sum(region[1] for region in regions if region is not None)


# --- addresses resolve as the reference says

NODES_AT, ENDPOINT_AT = 0x1000, 0x80000
nodes = st.lists(st.integers(1, 4), min_size=1, max_size=6)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[Place, Capability], Capability]:
    """CNodes that hold each other, also themselves, with guards of their own; and the capability to begin with."""
    radixes = draw(nodes)
    addresses = [NODES_AT + 0x1000 * number for number in range(len(radixes))]

    def node() -> Capability:
        number = draw(st.integers(0, len(radixes) - 1))
        size = draw(st.one_of(st.integers(0, 6), st.sampled_from((30, 58, 60))))
        guard = draw(st.sampled_from((0, 0, 1, (1 << size) - 1))) & ((1 << size) - 1)
        return Capability(Kind.CNODE, addresses[number], radixes[number], guard=guard, guard_size=size)

    held = {}
    for address, radix in zip(addresses, radixes, strict=True):
        for index in range(1 << radix):
            kind = draw(st.integers(0, 3))
            if kind < 2:
                held[Place(address, index)] = node()
            elif kind == 2:
                held[Place(address, index)] = Capability(Kind.ENDPOINT, ENDPOINT_AT, rights=15)
    return held, node()


def _concrete(capability: Capability) -> caps.Cap:
    if capability.kind is Kind.CNODE:
        return caps.cnode(capability.address, capability.bits, capability.guard, capability.guard_size)
    return caps.endpoint(capability.address)


@settings(max_examples=settings.default.max_examples * 3 if settings.default else 100)
@given(graphs(), st.lists(st.tuples(st.integers(0, abi.WORD_MASK), st.integers(1, 64)), min_size=1, max_size=12))
def test_addresses_resolve_as_in_the_reference(
    graph: tuple[dict[Place, Capability], Capability], addresses: list[tuple[int, int]]
) -> None:
    held, first = graph
    ram = Ram(bytearray(0x100000), layout.UNDO_LOG + 0x80000, 0x10000)
    root = Slot(ram, 0x200)
    with ram.transaction():
        caps.write(root, _concrete(first))
        for place, capability in held.items():
            caps.write(Slot(ram, place.container + place.number * Slot.SIZE), _concrete(capability))
    for cptr, depth in [*addresses, *((cptr & 0xFF, depth) for cptr, depth in addresses)]:
        assert _kernel_resolves(root, cptr, depth) == _reference_resolves(first, cptr, depth, held)


Outcome = tuple[str, int, tuple[int, ...]]


def _reference_resolves(root: Capability, cptr: int, depth: int, held: dict[Place, Capability]) -> Outcome:
    try:
        found = resolve(root, cptr, depth, held.get)
    except Unresolved as failure:
        return "failure", failure.kind, failure.words
    return "slot", found.place.container + found.place.number * Slot.SIZE, (found.bits_left,)


def _kernel_resolves(root: Slot, cptr: int, depth: int) -> Outcome:
    try:
        slot, left = cspace.resolve_address_bits(root, cptr & ((1 << depth) - 1), depth)
    except LookupFailure as failure:
        return "failure", failure.kind, failure.words
    return "slot", slot.address, (left,)


# --- the order of derivation is the tree's

SLOTS = 6  # few, so that the same things happen to the same capabilities
changes = st.lists(
    st.tuples(
        st.sampled_from(
            ("copy", "copy", "copy", "mint", "mint", "move", "rotate", "delete", "delete", "revoke", "retype")
        ),
        st.integers(0, SLOTS - 1),
        st.integers(0, SLOTS - 1),
        st.integers(0, SLOTS - 1),
    ),
    min_size=20,
    max_size=80,
)


@cache
def world() -> World:
    return build()


@given(changes)
def test_derivation_is_a_tree_in_preorder(plan: list[tuple[str, int, int, int]]) -> None:
    """The kernel's list of capabilities is the specification's tree, and it sees the same descendants of each."""
    pair = world().origin.begin()
    node, root, owned = InitialSlot.CNODE, pair.machine.root, world().owned
    sources = [*range(WINDOW, WINDOW + SLOTS), owned.endpoint, owned.pool]
    for name, first, second, third in plan:
        to = (WINDOW + first, abi.WORD_BITS)
        source = (sources[second * len(sources) // SLOTS], abi.WORD_BITS)
        match name:
            case "copy":
                pair.invoke(root, node, Label.CNODE_COPY, (*to, *source, Rights.ALL), [node])
            case "mint":
                words = (*to, owned.endpoint, abi.WORD_BITS, Rights.ALL, 1 + third % 2)
                pair.invoke(root, node, Label.CNODE_MINT, words, [node])
            case "move":
                pair.invoke(root, node, Label.CNODE_MOVE, (*to, WINDOW + second, abi.WORD_BITS), [node])
            case "rotate":
                pivot, moved = (WINDOW + second, abi.WORD_BITS), (WINDOW + third, abi.WORD_BITS)
                pair.invoke(root, node, Label.CNODE_ROTATE, (*to, 0, *pivot, 0, *moved), [node, node])
            case "delete":
                pair.invoke(root, node, Label.CNODE_DELETE, to)
            case "revoke":
                pair.invoke(root, node, Label.CNODE_REVOKE, (WINDOW + second, abi.WORD_BITS))
            case _:
                what = (ObjectType.ENDPOINT, ObjectType.UNTYPED, ObjectType.TCB, ObjectType.CNODE)[third % 4]
                made = (what, 6 if what is ObjectType.UNTYPED else 1, 0, 0, WINDOW + first, 1)
                memory = owned.pool if second % 2 else WINDOW + second
                held = pair.machine.slot(memory).cap_type
                if held == CapType.UNTYPED:
                    pair.invoke(root, memory, Label.UNTYPED_RETYPE, made, [node])
        pair.check_descendants()
    pair.machine.assert_invariants()
