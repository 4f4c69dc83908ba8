"""CNode methods that place capabilities: Copy, Mint, Move, Mutate, Rotate (manual 3.1.2)."""

from __future__ import annotations

import pytest

from kerneld.records import CapType
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, ObjectType, Rights, Syscall
from tests.conformance.scenes import SCHED_CONTROL, got, held, is_empty, poll, send
from tests.harness import Machine, Refused

CNODE = InitialSlot.CNODE
RIGHTLESS = (ObjectType.TCB, ObjectType.CNODE, ObjectType.SCHED_CONTEXT, ObjectType.UNTYPED)


def move(machine: Machine, source: int) -> int:
    slot = machine.new_slots()
    machine.root.call(CNODE, Label.CNODE_MOVE, (slot, 64, source, 64), [CNODE])
    return slot


def mutate(machine: Machine, source: int, data: int) -> tuple[int, int]:
    """Returns the error and the destination slot."""
    slot = machine.new_slots()
    error, _ = machine.root.invoke(CNODE, Label.CNODE_MUTATE, (slot, 64, source, 64, data), [CNODE])
    return error, slot


def rotate(
    machine: Machine, slots: tuple[int, int, int], data: tuple[int, int] = (0, 0)
) -> tuple[int, tuple[int, ...]]:
    """Rotate (dest, pivot, source), giving the pivot's and the source's capability this data."""
    dest, pivot, source = slots
    words = (dest, 64, data[0], pivot, 64, data[1], source, 64)
    return machine.root.invoke(CNODE, Label.CNODE_ROTATE, words, [CNODE, CNODE])


def small(machine: Machine, object_type: ObjectType) -> int:
    sizes = {ObjectType.CNODE: 1, ObjectType.SCHED_CONTEXT: 8, ObjectType.UNTYPED: 6}
    return machine.retype(object_type, sizes.get(object_type, 0))


def test_CNODEOP0001_copy(machine: Machine) -> None:
    """Copy makes a second capability to the same object and leaves the source."""
    notification = machine.retype(ObjectType.NOTIFICATION)
    badged = machine.copy(notification, badge=6)
    copy = machine.copy(badged)
    send(machine.root, cptr=copy)
    assert poll(machine, notification) == 6
    assert held(machine, copy) == held(machine, badged)


@pytest.mark.parametrize("rights", range(16))
def test_CNODEOP0002_rights_are_masked(machine: Machine, rights: int) -> None:
    """Copy and Mint intersect rights silently: what the source lacks is not given, and no error tells so."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    less = machine.copy(endpoint, rights)
    assert held(machine, less).rights == rights
    assert held(machine, machine.copy(less, Rights.ALL)).rights == rights
    assert held(machine, machine.copy(less, Rights.READ | Rights.GRANT)).rights == rights & 6


@pytest.mark.parametrize("object_type", RIGHTLESS)
def test_CNODEOP0003_types_without_rights(machine: Machine, object_type: ObjectType) -> None:
    """TCB, CNode, scheduling context and untyped capabilities ignore the rights mask."""
    source = small(machine, object_type)
    before = held(machine, source)
    copy = machine.copy(source, Rights.NONE)
    assert held(machine, copy).word0 == before.word0


def test_CNODEOP0004_mint_badge(machine: Machine) -> None:
    """Mint gives an unbadged endpoint or notification capability a badge of 64 bits."""
    for object_type in (ObjectType.ENDPOINT, ObjectType.NOTIFICATION):
        minted = machine.copy(machine.retype(object_type), badge=abi.WORD_MASK)
        assert held(machine, minted).badge == abi.WORD_MASK


@pytest.mark.parametrize("badge", [0, 7, 8])
def test_CNODEOP0005_badge_once(machine: Machine, badge: int) -> None:
    """A badged capability cannot be minted again, not even with badge 0 or the same badge: IllegalOperation."""
    badged = machine.copy(machine.retype(ObjectType.ENDPOINT), badge=7)
    with pytest.raises(Refused) as refused:
        machine.copy(badged, badge=badge)
    assert refused.value.error is Error.ILLEGAL_OPERATION


def test_CNODEOP0006_mint_badge_zero(machine: Machine) -> None:
    """Mint with badge 0 is a copy: what is copied from it is its sibling and survives its revocation."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    minted = machine.copy(endpoint, badge=0)
    copy = machine.copy(minted)
    machine.revoke(minted)
    assert not is_empty(machine, copy)


def test_CNODEOP0007_mint_guard(machine: Machine) -> None:
    """Mint of a CNode capability sets its guard."""
    cnode = machine.retype(ObjectType.CNODE, 4)
    minted = held(machine, machine.copy(cnode, badge=abi.cnode_cap_data(0x2A, 6)))
    assert (minted.guard, minted.guard_size, minted.radix) == (0x2A, 6, 4)


def test_CNODEOP0008_mint_ignores_badge_elsewhere(machine: Machine) -> None:
    """Mint of a capability that takes no badge is a plain copy."""
    tcb = machine.retype(ObjectType.TCB)
    assert held(machine, machine.copy(tcb, badge=99)) == held(machine, tcb)


def test_CNODEOP0009_move(machine: Machine) -> None:
    """Move empties the source and leaves badge and rights as they are."""
    badged = machine.copy(machine.retype(ObjectType.ENDPOINT), Rights.READ, 9)
    before = held(machine, badged)
    moved = move(machine, badged)
    assert is_empty(machine, badged)
    assert held(machine, moved) == before


def test_CNODEOP0010_move_keeps_derivation(machine: Machine) -> None:
    """A moved capability keeps its place in the derivation tree: its parent revokes it, it revokes its children."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    badged = machine.copy(endpoint, badge=3)
    child = machine.copy(badged)
    moved = move(machine, badged)
    machine.revoke(moved)
    assert is_empty(machine, child)
    machine.revoke(move(machine, endpoint))
    assert is_empty(machine, moved)


def test_CNODEOP0011_mutate_guard(machine: Machine) -> None:
    """Mutate moves a CNode capability and sets its guard."""
    cnode = machine.retype(ObjectType.CNODE, 4)
    error, slot = mutate(machine, cnode, abi.cnode_cap_data(5, 3))
    assert error == Error.NO_ERROR
    assert is_empty(machine, cnode)
    assert (held(machine, slot).guard, held(machine, slot).guard_size) == (5, 3)


@pytest.mark.parametrize("object_type", [ObjectType.ENDPOINT, ObjectType.NOTIFICATION])
@pytest.mark.parametrize("data", [0, 5])
def test_CNODEOP0012_mutate_badge(machine: Machine, object_type: ObjectType, data: int) -> None:
    """Mutate of an endpoint or notification capability is an IllegalOperation, badged or not."""
    source = machine.retype(object_type)
    error, slot = mutate(machine, source, data)
    assert error == Error.ILLEGAL_OPERATION
    assert is_empty(machine, slot)
    assert not is_empty(machine, source)


def test_CNODEOP0013_mutate_other(machine: Machine) -> None:
    """Mutate of a capability without badge or guard is a move."""
    tcb = machine.retype(ObjectType.TCB)
    before = held(machine, tcb)
    error, slot = mutate(machine, tcb, 77)
    assert (error, held(machine, slot)) == (Error.NO_ERROR, before)


def test_CNODEOP0014_rotate(machine: Machine) -> None:
    """Rotate moves the pivot to the destination and the source to the pivot in one step."""
    pivot, source = machine.retype(ObjectType.TCB), machine.retype(ObjectType.REPLY)
    dest = machine.new_slots()
    assert rotate(machine, (dest, pivot, source)) == (Error.NO_ERROR, ())
    assert held(machine, dest).type is CapType.TCB
    assert held(machine, pivot).type is CapType.REPLY
    assert is_empty(machine, source)


def test_CNODEOP0015_rotate_swaps(machine: Machine) -> None:
    """Rotate with source and destination alike swaps two capabilities."""
    pivot, source = machine.retype(ObjectType.TCB), machine.retype(ObjectType.REPLY)
    assert rotate(machine, (source, pivot, source)) == (Error.NO_ERROR, ())
    assert held(machine, source).type is CapType.TCB
    assert held(machine, pivot).type is CapType.REPLY


def test_CNODEOP0016_rotate_sets_guards(machine: Machine) -> None:
    """Rotate gives both CNode capabilities their new guards."""
    pivot, source = machine.retype(ObjectType.CNODE, 2), machine.retype(ObjectType.CNODE, 3)
    dest = machine.new_slots()
    data = (abi.cnode_cap_data(1, 4), abi.cnode_cap_data(2, 5))
    assert rotate(machine, (dest, pivot, source), data)[0] == Error.NO_ERROR
    assert [(held(machine, slot).radix, held(machine, slot).guard) for slot in (dest, pivot)] == [(2, 1), (3, 2)]


def test_CNODEOP0017_rotate_pivot_differs(machine: Machine) -> None:
    """Rotate with a pivot that is the source or the destination is an IllegalOperation."""
    source, other = machine.retype(ObjectType.TCB), machine.new_slots()
    assert rotate(machine, (other, source, source)) == (Error.ILLEGAL_OPERATION, ())
    assert rotate(machine, (other, other, source)) == (Error.ILLEGAL_OPERATION, ())


def test_CNODEOP0018_rotate_keeps_derivation(machine: Machine) -> None:
    """Rotated capabilities keep their places in the derivation tree, also when they are neighbours in it."""
    memory = machine.retype(ObjectType.UNTYPED, 10)
    reply = machine.retype(ObjectType.REPLY, untyped=memory)
    assert rotate(machine, (memory, reply, memory)) == (Error.NO_ERROR, ())
    assert held(machine, memory).type is CapType.REPLY
    machine.revoke(reply)
    assert held(machine, reply).type is CapType.UNTYPED
    assert is_empty(machine, memory)


def test_CNODEOP0023_rotate_endpoint(machine: Machine) -> None:
    """Rotate of an endpoint or notification capability is an IllegalOperation, as Mutate is."""
    tcb, dest = machine.retype(ObjectType.TCB), machine.new_slots()
    for object_type in (ObjectType.ENDPOINT, ObjectType.NOTIFICATION):
        source = machine.retype(object_type)
        assert rotate(machine, (dest, tcb, source)) == (Error.ILLEGAL_OPERATION, ())
        assert rotate(machine, (dest, source, tcb)) == (Error.ILLEGAL_OPERATION, ())


@pytest.mark.parametrize("slot", [InitialSlot.IRQ_CONTROL, InitialSlot.IO_PORT_CONTROL])
def test_CNODEOP0019_control_is_not_copied(machine: Machine, slot: int) -> None:
    """IRQControl and IOPortControl can be moved and not copied: IllegalOperation."""
    error, _ = machine.root.invoke(CNODE, Label.CNODE_COPY, (machine.new_slots(), 64, slot, 64, 15), [CNODE])
    assert error == Error.ILLEGAL_OPERATION
    assert not is_empty(machine, move(machine, slot))


@pytest.mark.parametrize("slot", [InitialSlot.DOMAIN, SCHED_CONTROL])
def test_CNODEOP0020_authority_is_copied(machine: Machine, slot: int) -> None:
    """Domain and SchedControl capabilities can be copied."""
    assert held(machine, machine.copy(slot)) == held(machine, slot)


def test_CNODEOP0021_copy_between_cnodes(machine: Machine) -> None:
    """Copy takes from one CNode and puts into another: each is named by its own capability."""
    first, second = machine.retype(ObjectType.CNODE, 2), machine.retype(ObjectType.CNODE, 2)
    reply = machine.retype(ObjectType.REPLY)
    machine.root.call(first, Label.CNODE_COPY, (1, 2, reply, 64, 15), [CNODE])
    machine.root.call(second, Label.CNODE_COPY, (3, 2, 1, 2, 15), [first])
    slot = machine.new_slots()
    machine.root.call(CNODE, Label.CNODE_MOVE, (slot, 64, 3, 2), [second])
    assert held(machine, slot) == held(machine, reply)


def test_CNODEOP0022_refusal_changes_nothing(machine: Machine) -> None:
    """A refused copy leaves source and destination as they were."""
    source, occupied = machine.retype(ObjectType.TCB), machine.retype(ObjectType.REPLY)
    before = held(machine, source), held(machine, occupied)
    for label in (Label.CNODE_COPY, Label.CNODE_MINT, Label.CNODE_MOVE, Label.CNODE_MUTATE):
        error, _ = machine.root.invoke(CNODE, label, (occupied, 64, source, 64, 15, 0), [CNODE])
        assert error == Error.DELETE_FIRST
    assert (held(machine, source), held(machine, occupied)) == before


def test_CNODEOP0024_types_of_slots(machine: Machine) -> None:
    """IDENTIFY with two words tells the types of a CNode's slots from one on, as far as it has them and they fit."""
    cnode = machine.retype(ObjectType.CNODE, 10)
    reply = machine.retype(ObjectType.REPLY)
    for index in (0, 7, 1023):
        machine.root.call(cnode, Label.CNODE_COPY, (index, 10, reply, 64, 15), [CNODE])
    for first, count, told in (
        (0, 9, 9),
        (0, 5000, abi.IDENTIFIED_SLOTS),
        (1000, 100, 24),
        (1024, 1, 0),
        (1 << 63, 9, 0),
    ):
        done = got(machine.root.syscall(Syscall.IDENTIFY, cnode, words=(first, count)))
        types = b"".join(word.to_bytes(8, "little") for word in done.words[1:])
        assert done.words[0] == told
        assert len(types) == -(-told // 8) * 8
        found = {first + index: kind for index, kind in enumerate(types) if kind}
        assert found == {index: CapType.REPLY for index in (0, 7, 1023) if first <= index < first + told}


def test_CNODEOP0025_types_of_slots_of_what_has_none(machine: Machine) -> None:
    """What is no CNode is identified as ever, whatever the words; an empty address is nothing."""
    reply = machine.retype(ObjectType.REPLY)
    assert got(machine.root.syscall(Syscall.IDENTIFY, reply, words=(0, 9))).words[0] == CapType.REPLY
    assert got(machine.root.syscall(Syscall.IDENTIFY, machine.new_slots(), words=(0, 9))).words[0] == CapType.NULL


def test_CNODEOP0027_occupied_slots(machine: Machine) -> None:
    """IDENTIFY with three words tells the types of those slots alone that are not empty, and where to go on."""
    cnode = machine.retype(ObjectType.CNODE, 13)
    reply, endpoint = machine.retype(ObjectType.REPLY), machine.retype(ObjectType.ENDPOINT)

    def told(first: int, count: int) -> tuple[int, dict[int, int]]:
        following, *slots = got(machine.root.syscall(Syscall.IDENTIFY, cnode, words=(first, count, 0))).words
        return following, {slot >> 8: slot & 0xFF for slot in slots}

    assert told(0, 100) == (100, {})
    for index, held_there in ((10, endpoint), (4095, reply), (8191, reply)):
        machine.root.call(cnode, Label.CNODE_COPY, (index, 13, held_there, 64, 15), [CNODE])
    assert told(0, 1 << 13) == (abi.OCCUPIED_LOOKS, {10: CapType.ENDPOINT, 4095: CapType.REPLY})
    assert told(abi.OCCUPIED_LOOKS, 1 << 13) == (1 << 13, {8191: CapType.REPLY})
    assert told(10, 1) == (11, {10: CapType.ENDPOINT})
    assert told(8190, 100) == (1 << 13, {8191: CapType.REPLY})
    for beyond in (1 << 13, 1 << 63):
        assert told(beyond, 1) == (beyond, {})
    for index in range(200, 200 + abi.OCCUPIED_SLOTS):
        machine.root.call(cnode, Label.CNODE_COPY, (index, 13, reply, 64, 15), [CNODE])
    following, found = told(0, 1000)
    assert following == 199 + abi.OCCUPIED_SLOTS  # one more than fits
    assert len(found) == abi.OCCUPIED_SLOTS
    assert told(following, 1000) == (following + 1000, {following: CapType.REPLY})


def test_CNODEOP0028_occupied_slots_of_what_has_none(machine: Machine) -> None:
    """What is no CNode has none, and nothing is told."""
    for cptr in (machine.retype(ObjectType.REPLY), machine.retype(ObjectType.TCB), machine.new_slots()):
        assert got(machine.root.syscall(Syscall.IDENTIFY, cptr, words=(0, 9, 0))).words == ()


def test_CNODEOP0026_the_same_object(machine: Machine) -> None:
    """IDENTIFY with one word, a capability's address, tells whether both are to one object by one badge."""

    def same(one: int, other: int) -> bool:
        done = got(machine.root.syscall(Syscall.IDENTIFY, one, words=(other,)))
        assert len(done.words) == 1
        return bool(done.words[0])

    endpoint, second = machine.retype(ObjectType.ENDPOINT), machine.retype(ObjectType.ENDPOINT)
    badged, again, narrowed, other = (machine.new_slots() for _ in range(4))
    for slot, rights, badge in ((badged, 15, 7), (again, 15, 7), (narrowed, 2, 7), (other, 15, 8)):
        machine.root.call(CNODE, Label.CNODE_MINT, (slot, 64, endpoint, 64, rights, badge), [CNODE])
    assert same(badged, again)
    assert same(narrowed, badged)
    for one, two in ((endpoint, second), (endpoint, badged), (badged, other), (endpoint, machine.new_slots())):
        assert not same(one, two)
        assert not same(two, one)
    empty = machine.new_slots()
    assert not same(empty, empty)
    frame, tcb = machine.retype(ObjectType.FRAME, 12), machine.retype(ObjectType.TCB)
    assert same(frame, frame)
    assert same(tcb, tcb)
    assert not same(frame, tcb)
    assert not same(endpoint, 1 << 63)
