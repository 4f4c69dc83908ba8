"""Every predicate of mappings finds the damage that it is about."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kerneld import caps, invariants, mapping_invariants
from kerneld.records import MappingNode, MappingSpace
from libsel4py import abi
from libsel4py.abi import Rights
from tests.mapping_scene import BASE, PAGE, ROOT_SPACE, MappingScene


class Mapped:
    """A VSpace with seven mappings and one node that is free."""

    def __init__(self) -> None:
        self.scene = MappingScene()
        self.ram = self.scene.machine.ram
        self.frames = [self.scene.mapped(BASE + number * PAGE, rights=Rights.READ) for number in range(8)]
        self.scene.unmap(self.frames[7])
        self.space = self.scene.record()

    @property
    def root(self) -> MappingNode:
        node = self.space.root
        assert node is not None
        return node


@pytest.fixture
def mapped() -> Mapped:
    return Mapped()


def size(on: Mapped) -> None:
    on.space.size_bits = 40


def count(on: Mapped) -> None:
    on.space.mapping_count = 6


def lost_branch(on: Mapped) -> None:
    on.root.higher = None


def lost_free_node(on: Mapped) -> None:
    on.space.free_nodes = None


def free_node_that_names(on: Mapped) -> None:
    node = on.space.free_nodes
    assert node is not None
    node.slot = on.scene.machine.slot(on.frames[0])


def height(on: Mapped) -> None:
    on.root.height = 9


def order(on: Mapped) -> None:
    lower, higher = on.root.lower, on.root.higher
    on.root.lower, on.root.higher = higher, lower


def circle(on: Mapped) -> None:
    on.root.lower = on.root


def unaligned(on: Mapped) -> None:
    on.root.where = on.root.where | 1 << 14 | 3


def outside(on: Mapped) -> None:
    on.root.where = PAGE


def overlapping(on: Mapped) -> None:
    on.root.where = on.root.where | 1


def nobodys(on: Mapped) -> None:
    on.root.slot = on.scene.machine.slot(on.scene.machine.new_slots())


def somebody_elses(on: Mapped) -> None:
    on.root.slot = on.scene.machine.slot(on.frames[7])


def more_rights(on: Mapped) -> None:
    slot = on.scene.machine.slot(on.frames[0])
    caps.write(slot, caps.with_rights(caps.read(slot), 0))


def two_for_one(on: Mapped) -> None:
    lower = on.root.lower
    assert lower is not None
    lower.slot = on.root.slot


def not_mapped(on: Mapped) -> None:
    on.scene.machine.slot(on.frames[7]).word1 = on.scene.cap(on.frames[0]).word1


def elsewhere(on: Mapped) -> None:
    slot = on.scene.machine.slot(on.frames[0])
    caps.write(slot, caps.mapped(caps.read(slot), on.space.address, BASE + 100 * PAGE))


def by_io(on: Mapped) -> None:
    slot = on.scene.machine.slot(on.frames[0])
    slot.word1 = slot.word1 | caps.MAPPED_BY_IO


def in_nothing(on: Mapped) -> None:
    slot = on.scene.machine.slot(on.frames[7])
    caps.write(slot, caps.mapped(caps.read(slot), 0x70000, BASE))


DAMAGE: dict[Callable[[Mapped], None], str] = {
    size: "space-size",
    count: "mapping-table",
    lost_branch: "mapping-table",
    lost_free_node: "mapping-table",
    free_node_that_names: "mapping-table",
    height: "mapping-table",
    order: "mapping-table",
    circle: "mapping-table",
    unaligned: "mapping-place",
    outside: "mapping-place",
    overlapping: "mapping-place",
    nobodys: "mapping-capability",
    somebody_elses: "mapping-capability",
    more_rights: "mapping-capability",
    two_for_one: "mapping-capability",
    by_io: "mapping-capability",
    not_mapped: "mapped-capability",
    elsewhere: "mapped-capability",
    in_nothing: "mapped-capability",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_found(mapped: Mapped, damage: Callable[[Mapped], None]) -> None:
    with mapped.ram.transaction():
        damage(mapped)
    assert DAMAGE[damage] in {violation.name for violation in invariants.check(mapped.ram)}


def test_every_predicate_is_tried() -> None:
    assert {item.name for item in mapping_invariants.PREDICATES} == set(DAMAGE.values())


def test_any_bytes_can_be_checked(mapped: Mapped) -> None:
    """A damaged image gives violations, never an exception, and the check ends."""
    ram, space = mapped.ram, mapped.space.address
    places = [
        *range(space, space + 48, 8),
        *range(space + MappingSpace.NODES, space + MappingSpace.NODES + 8 * MappingNode.SIZE, 8),
        mapped.scene.machine.slot(mapped.frames[0]).address + 8,
        mapped.scene.record(ROOT_SPACE).address + 16,
    ]
    for address in places:
        held = ram.word(address)
        for wrong in (abi.WORD_MASK, 0x7, ram.size - 8, held ^ 1 << 39, space, mapped.root.address):
            with ram.transaction():
                ram.set_word(address, wrong)
            invariants.check(ram)
        with ram.transaction():
            ram.set_word(address, held)
    assert invariants.check(ram) == []
