"""The table of a space's mappings: what is found in it, how deep it gets, and what it costs."""

from __future__ import annotations

import mmap
import random
from collections.abc import Callable
from math import log2

import pytest

from hw.ram import Ram
from kerneld import layout, mapping_table
from kerneld.failures import KernelBug
from kerneld.mapping_table import Mapping
from kerneld.records import MappingNode, Slot, VSpace
from libsel4py.abi import MAPPING_BASE, MAPPING_END, Rights, VmAttributes

SPACE = 0x40000
PAGE = 4096


def make_space(size_bits: int = 14) -> VSpace:
    ram = Ram(mmap.mmap(-1, SPACE + (1 << size_bits)), layout.UNDO_LOG, layout.UNDO_LOG_BYTES)
    space = VSpace(ram, SPACE)
    with ram.transaction():
        space.size_bits = size_bits
    return space


def mapping(address: int, size_bits: int = 12, slot: int = 0x1000) -> Mapping:
    return Mapping(address, size_bits, Rights.READ, VmAttributes.DEFAULT, slot)


def insert(space: VSpace, *mappings: Mapping) -> None:
    for each in mappings:
        with space.ram.transaction():
            mapping_table.insert(space, each)


def remove(space: VSpace, address: int) -> Mapping:
    space.ram.begin()
    removed = mapping_table.remove(space, address)
    space.ram.commit()
    return removed


def depth(space: VSpace) -> int:
    """Of the tree, which is checked on the way: order, heights, balance."""

    def measure(node: MappingNode | None, low: int, high: int) -> int:
        if node is None:
            return 0
        address = mapping_table.read(space, node.address).address
        assert low <= address < high
        lower, higher = measure(node.lower, low, address), measure(node.higher, address + 1, high)
        assert abs(lower - higher) <= 1
        assert node.height == 1 + max(lower, higher)
        return node.height

    return measure(space.root, 0, 1 << 63)


def test_an_empty_table_has_nothing() -> None:
    space = make_space()
    assert mapping_table.find(space, MAPPING_BASE) is None
    assert mapping_table.first(space) is None
    assert mapping_table.overlapping(space, 0, 1 << 47) is None
    assert list(mapping_table.walk(space)) == []


def test_a_mapping_covers_its_bytes_and_no_others() -> None:
    space = make_space()
    big = mapping(MAPPING_BASE + (1 << 21), 21)
    insert(space, big)
    assert mapping_table.find(space, big.address - 1) is None
    assert mapping_table.find(space, big.address) == big
    assert mapping_table.find(space, big.end - 1) == big
    assert mapping_table.find(space, big.end) is None


def test_what_follows_an_address_is_found() -> None:
    space = make_space()
    assert mapping_table.following(space, 0) is None
    places = [MAPPING_BASE + PAGE * number for number in (0, 1, 5, 9, 100)]
    insert(space, *(mapping(each) for each in places))
    found, at = [], 0
    while (each := mapping_table.following(space, at)) is not None:
        found.append(each.address)
        at = each.end
    assert found == places
    assert mapping_table.following(space, places[2] + 1) == mapping(places[3])


def test_what_has_bytes_in_common_overlaps() -> None:
    space = make_space()
    page = mapping(MAPPING_BASE + 5 * PAGE)
    insert(space, page)
    assert mapping_table.overlapping(space, MAPPING_BASE, 5 * PAGE) is None
    assert mapping_table.overlapping(space, MAPPING_BASE, 6 * PAGE) == page
    assert mapping_table.overlapping(space, MAPPING_BASE, 1 << 30) == page
    assert mapping_table.overlapping(space, page.end, PAGE) is None


def test_all_words_of_a_mapping_come_back() -> None:
    space = make_space()
    attributes = VmAttributes.WRITE_THROUGH | VmAttributes.CACHE_DISABLED | VmAttributes.WRITE_COMBINING
    most = Mapping(MAPPING_END - (1 << 30), 30, Rights.READ | Rights.WRITE, attributes, (1 << 40) - Slot.SIZE)
    least = Mapping(0, 12, 0, VmAttributes.DEFAULT, Slot.SIZE)
    insert(space, most, least)
    assert list(mapping_table.walk(space)) == [least, most]


def test_access_and_slot_change_in_place() -> None:
    space = make_space()
    insert(space, mapping(MAPPING_BASE))
    with space.ram.transaction():
        mapping_table.set_access(space, MAPPING_BASE, Rights.READ | Rights.WRITE, VmAttributes.CACHE_DISABLED)
        mapping_table.set_slot(space, MAPPING_BASE, Slot(space.ram, 0x2000))
    changed = Mapping(MAPPING_BASE, 12, Rights.READ | Rights.WRITE, VmAttributes.CACHE_DISABLED, 0x2000)
    assert mapping_table.first(space) == changed


def test_a_smallest_space_holds_as_many_as_its_page() -> None:
    space = make_space(12)
    room = space.mapping_capacity
    assert room == (PAGE - 128) // 32
    assert space.private_bytes == 0
    insert(space, *(mapping(MAPPING_BASE + number * PAGE) for number in range(room)))
    assert mapping_table.is_full(space)
    with pytest.raises(KernelBug, match="full"):
        insert(space, mapping(MAPPING_BASE + room * PAGE))
    remove(space, MAPPING_BASE + 7 * PAGE)
    insert(space, mapping(MAPPING_BASE + room * PAGE))  # the node that became free is used again
    assert space.nodes_used == room


def test_the_same_address_twice_is_a_bug() -> None:
    space = make_space()
    insert(space, mapping(MAPPING_BASE))
    with pytest.raises(KernelBug):
        insert(space, mapping(MAPPING_BASE))


@pytest.mark.parametrize(
    "change",
    [
        mapping_table.remove,
        lambda space, address: mapping_table.set_access(space, address, 0, 0),
        lambda space, address: mapping_table.set_slot(space, address, Slot(space.ram, 0x2000)),
    ],
    ids=["remove", "set_access", "set_slot"],
)
def test_what_is_not_there_is_a_bug(change: Callable[[VSpace, int], object]) -> None:
    space = make_space()
    insert(space, mapping(MAPPING_BASE, 13))
    with pytest.raises(KernelBug):
        change(space, MAPPING_BASE + PAGE)


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_changes_leaves_a_balanced_tree_with_what_is_mapped(seed: int) -> None:
    chance = random.Random(seed)
    space = make_space(14)
    expected: dict[int, Mapping] = {}
    for step in range(1500):
        bits = chance.choice((12, 12, 13, 16))
        address = MAPPING_BASE + (chance.randrange(1 << 20) >> bits << bits)
        covered = [each for each in expected.values() if each.address < address + (1 << bits) and each.end > address]
        found = mapping_table.overlapping(space, address, 1 << bits)
        assert (found is None) == (not covered)
        assert found is None or found in covered
        if found is not None:
            assert remove(space, found.address) == expected.pop(found.address)
        elif not mapping_table.is_full(space):
            expected[address] = mapping(address, bits, Slot.SIZE * (step + 1))
            insert(space, expected[address])
        if not step % 10:
            depth(space)
            assert list(mapping_table.walk(space)) == [expected[each] for each in sorted(expected)]
            assert space.mapping_count == len(expected)
    while (lowest := mapping_table.first(space)) is not None:
        assert remove(space, lowest.address) == expected.pop(lowest.address)
    assert not expected
    assert space.root is None


@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
def test_ten_thousand_mappings_fit_32_mib_in_steps_that_stay_small(order: str) -> None:
    space = make_space(25)
    numbers = list(range(10_000))
    if order == "falling":
        numbers.reverse()
    elif order == "mixed":
        random.Random(1).shuffle(numbers)
    most = 0
    for number in numbers:
        insert(space, mapping(MAPPING_BASE + number * PAGE))
        most = max(most, space.ram.stores)
    assert depth(space) <= 1.45 * log2(10_002)
    for number in numbers[::2]:
        remove(space, MAPPING_BASE + number * PAGE)
        most = max(most, space.ram.stores)
    depth(space)
    assert most < 80
    assert space.private_bytes == (1 << 25) - (1 << 19)


def test_a_change_that_is_rolled_back_leaves_nothing() -> None:
    space = make_space()
    insert(space, *(mapping(MAPPING_BASE + number * PAGE) for number in range(20)))
    before = space.ram.read(SPACE, PAGE)
    space.ram.begin()
    for number in range(0, 20, 2):
        mapping_table.remove(space, MAPPING_BASE + number * PAGE)
    mapping_table.insert(space, mapping(MAPPING_BASE + (1 << 30), 30))
    space.ram.recover()
    assert space.ram.read(SPACE, PAGE) == before
