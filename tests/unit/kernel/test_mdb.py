"""The derivation order: who is whose parent, and that links survive every kind of change."""

import itertools

import pytest

from kerneld import caps, mdb
from kerneld.caps import Cap
from kerneld.records import CapType, Slot
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights
from tests.harness import Machine

MEMORY = caps.untyped(0x100000, 16, False)
OBJECTS = {
    "endpoint": caps.endpoint(0x100010),
    "notification": caps.notification(0x100040),
    "reply": caps.reply(0x100020),
    "cnode": caps.cnode(0x100400, 4),
    "tcb": caps.tcb(0x100800),
    "sched_context": caps.sched_context(0x100100, 8),
    "frame": caps.frame(0x101000, 12),
    "vspace": caps.vspace(0x102000, 12),
    "zombie": caps.zombie(0x100400, 4, False, 3),
    "untyped": caps.untyped(0x104000, 12, False),
}
WITHOUT_MEMORY = {
    "irq_control": caps.irq_control(),
    "irq_handler": caps.irq_handler(3),
    "io_port_control": caps.io_port_control(),
    "io_port": caps.io_port(0x60, 0x64),
    "domain": caps.domain(),
    "sched_control": caps.sched_control(0),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_untyped_covers_what_lies_in_it(name: str) -> None:
    assert mdb.same_region(MEMORY, OBJECTS[name])
    assert not mdb.same_region(caps.untyped(0x200000, 16, False), OBJECTS[name])


@pytest.mark.parametrize("name", WITHOUT_MEMORY)
def test_untyped_covers_nothing_without_memory(name: str) -> None:
    assert not mdb.same_region(caps.untyped(0, 39, False), WITHOUT_MEMORY[name])


def test_untyped_does_not_cover_what_reaches_out_of_it() -> None:
    assert not mdb.same_region(caps.untyped(0x104000, 12, False), caps.untyped(0x104000, 13, False))
    assert mdb.same_region(caps.untyped(0x104000, 13, False), caps.untyped(0x104000, 12, False))


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations([*OBJECTS, *WITHOUT_MEMORY], 2)))
def test_capabilities_of_different_objects_are_not_the_same(first: str, second: str) -> None:
    every = OBJECTS | WITHOUT_MEMORY
    assert not mdb.same_object(every[first], every[second])
    assert mdb.identity(every[first]) != mdb.identity(every[second]) or mdb.identity(every[first]) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (caps.endpoint(0x100010), caps.endpoint(0x100010, Rights.READ, 7)),
        (caps.notification(0x100040), caps.notification(0x100040, Rights.WRITE, 9)),
        (caps.cnode(0x100400, 4), caps.cnode(0x100400, 4, 5, 6)),
        (caps.frame(0x101000, 12), caps.frame(0x101000, 12, Rights.READ)),
        (caps.irq_handler(3), caps.irq_handler(3)),
        (caps.io_port(0x60, 0x64), caps.io_port(0x60, 0x64)),
        (caps.domain(), caps.domain()),
    ],
)
def test_rights_badge_and_guard_do_not_make_another_object(first: Cap, second: Cap) -> None:
    assert mdb.same_object(first, second)
    assert mdb.identity(first) == mdb.identity(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (caps.endpoint(0x100010), caps.endpoint(0x100020)),
        (caps.cnode(0x100400, 4), caps.cnode(0x100400, 5)),
        (caps.frame(0x101000, 12), caps.frame(0x101000, 13)),
        (caps.irq_handler(3), caps.irq_handler(4)),
        (caps.io_port(0x60, 0x64), caps.io_port(0x60, 0x65)),
        (caps.irq_control(), caps.irq_handler(3)),
        (caps.io_port_control(), caps.io_port(0, 1)),
        (MEMORY, MEMORY),
        (OBJECTS["zombie"], OBJECTS["zombie"]),
    ],
)
def test_what_is_never_the_same_object(first: Cap, second: Cap) -> None:
    assert not mdb.same_object(first, second)


def test_controls_cover_what_they_issue() -> None:
    assert mdb.same_region(caps.irq_control(), caps.irq_handler(5))
    assert mdb.same_region(caps.io_port_control(), caps.io_port(0, 1))
    assert not mdb.same_region(caps.irq_control(), caps.io_port(0, 1))


def test_what_is_revocable() -> None:
    endpoint = caps.endpoint(0x100010)
    assert mdb.is_revocable(caps.with_badge(endpoint, 5), endpoint)
    assert not mdb.is_revocable(endpoint, endpoint)
    assert mdb.is_revocable(MEMORY, MEMORY)
    assert mdb.is_revocable(caps.irq_handler(1), caps.irq_control())
    assert not mdb.is_revocable(caps.irq_handler(1), caps.irq_handler(1))
    assert mdb.is_revocable(caps.io_port(0, 1), caps.io_port_control())
    assert not mdb.is_revocable(caps.tcb(0x100800), caps.tcb(0x100800))


def is_parent(machine: Machine, parent: int, child: int) -> bool:
    return mdb.is_mdb_parent_of(machine.slot(parent), machine.slot(child))


def test_copies_of_an_original_are_children_and_copies_of_copies_siblings(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    copy = machine.copy(endpoint)
    second = machine.copy(copy)
    assert is_parent(machine, machine.untyped, endpoint)
    assert is_parent(machine, endpoint, copy)
    assert is_parent(machine, endpoint, second)
    assert not is_parent(machine, copy, second)


def test_badged_original_is_parent_of_its_badge_alone(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    five = machine.copy(endpoint, badge=5)
    five_copy = machine.copy(five)
    other_five = machine.copy(endpoint, badge=5)
    six = machine.copy(endpoint, badge=6)
    assert is_parent(machine, five, five_copy)
    assert not is_parent(machine, five, other_five)
    assert not is_parent(machine, five, six)
    assert all(is_parent(machine, endpoint, child) for child in (five, five_copy, other_five, six))


def test_mint_with_badge_zero_is_a_copy(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    minted = machine.copy(endpoint, badge=0)
    assert not machine.slot(minted).revocable


def test_deleting_the_first_of_a_badge_keeps_the_groups_apart(machine: Machine) -> None:
    """A group that loses its first capability must not become a child of a group with the same badge before it."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    late = machine.copy(endpoint, badge=5)
    late_copy = machine.copy(late)
    early = machine.copy(endpoint, badge=5)
    machine.delete(late)
    machine.revoke(early)
    assert machine.slot(late_copy).cap_type == CapType.ENDPOINT


def test_copy_of_untyped_fills_its_parent(machine: Machine) -> None:
    memory = machine.retype(ObjectType.UNTYPED, 16)
    copy = machine.copy(memory)
    assert is_parent(machine, memory, copy)
    assert machine.slot(memory).word1 == 1 << 16
    inside = machine.retype(ObjectType.ENDPOINT, untyped=copy)
    assert is_parent(machine, copy, inside)
    assert is_parent(machine, memory, inside)


def order(machine: Machine, start: int) -> list[int]:
    """Addresses of the slots behind a slot of the initial CNode, in the derivation order."""
    found, at = [], machine.slot(start).next
    while at is not None:
        found.append(at.address)
        at = at.next
    return found


@pytest.mark.parametrize("apart", [0, 1, 2])
def test_swap_exchanges_places_also_of_neighbours(machine: Machine, apart: int) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    slots = [machine.copy(endpoint, badge=badge) for badge in (1, 2, 3, 4)]
    behind = order(machine, endpoint)
    first, second = machine.slot(slots[3]), machine.slot(slots[2 - apart])
    cap1, cap2 = caps.read(first), caps.read(second)
    with machine.ram.transaction():
        mdb.swap(machine.kernel.core, cap1, first, cap2, second)
    machine.assert_invariants()
    exchanged = {first.address: second.address, second.address: first.address}
    assert order(machine, endpoint) == [exchanged.get(address, address) for address in behind]
    assert (caps.read(first), caps.read(second)) == (cap2, cap1)


def test_move_takes_the_place_in_the_order(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    for badge in (1, 2, 3):
        last = machine.copy(endpoint, badge=badge)
    before = order(machine, endpoint)
    place = machine.new_slots()
    machine.root.call(InitialSlot.CNODE, Label.CNODE_MOVE, (place, 64, last, 64), [InitialSlot.CNODE])
    assert order(machine, endpoint) == [machine.slot(place).address, *before[1:]]
    assert machine.ram.words(machine.slot(last).address, 4) == (0, 0, 0, 0)


def test_final_is_who_has_no_neighbour_to_the_same_object(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT, count=2)
    assert mdb.is_final(machine.slot(endpoint))
    copy = machine.copy(endpoint)
    assert not mdb.is_final(machine.slot(endpoint))
    assert not mdb.is_final(machine.slot(copy))
    assert mdb.is_final(machine.slot(endpoint + 1))
    machine.delete(endpoint)
    assert mdb.is_final(machine.slot(copy))


def test_slot_record_packs_links_beside_its_flags() -> None:
    assert Slot.next.offset == mdb.MDB_OFFSET
    assert Slot.prev.offset == mdb.PREV_OFFSET
