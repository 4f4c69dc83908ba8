"""CNode methods: order of checks, error payloads, and effects."""

from collections.abc import Sequence

import pytest

from kerneld import caps
from kerneld.records import CapType
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, LookupFailureKind, ObjectType, Rights, Syscall
from tests.harness import OWN_CNODE, Machine

CNODE = InitialSlot.CNODE
DEPTH = abi.WORD_BITS
GUARD = abi.WORD_BITS - abi.INITIAL_CNODE_BITS  # bits, of the initial task's CNode


def refuse(
    machine: Machine, label: int, words: Sequence[int], roots: Sequence[int] = (CNODE,), cptr: int = CNODE
) -> tuple[Error, tuple[int, ...]]:
    error, payload = machine.root.invoke(cptr, label, words, roots)
    assert error != Error.NO_ERROR
    return Error(error), payload


@pytest.mark.parametrize("label", [0, Label.TCB_SUSPEND, Label.IRQ_CONTROL_GET, 4000])
def test_unknown_label_is_refused_before_the_length(machine: Machine, label: int) -> None:
    assert refuse(machine, label, ()) == (Error.ILLEGAL_OPERATION, ())


LABELS = [label for label in Label if label.name.startswith("CNODE_")]
COPYING = [Label.CNODE_COPY, Label.CNODE_MINT, Label.CNODE_MOVE, Label.CNODE_MUTATE]
NEEDED = {Label.CNODE_COPY: 5, Label.CNODE_MINT: 6, Label.CNODE_MOVE: 4, Label.CNODE_MUTATE: 5}


@pytest.mark.parametrize("label", LABELS)
def test_short_messages(machine: Machine, label: Label) -> None:
    assert refuse(machine, label, (1,)) == (Error.TRUNCATED_MESSAGE, ())


@pytest.mark.parametrize("label", COPYING)
def test_copying_needs_its_words_and_a_root(machine: Machine, label: Label) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    place = machine.new_slots()
    words = (place, DEPTH, endpoint, DEPTH, 0, 0)
    assert refuse(machine, label, words[: NEEDED[label] - 1]) == (Error.TRUNCATED_MESSAGE, ())
    assert refuse(machine, label, words, ()) == (Error.TRUNCATED_MESSAGE, ())


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("depth", [0, 65, 1 << 63])
def test_depth_is_a_number_of_address_bits(machine: Machine, label: Label, depth: int) -> None:
    assert refuse(machine, label, (5, depth)) == (Error.RANGE_ERROR, (1, 64))


def test_destination_that_does_not_resolve(machine: Machine) -> None:
    missing = LookupFailureKind.DEPTH_MISMATCH
    assert refuse(machine, Label.CNODE_DELETE, (1 << 52, 56)) == (
        Error.FAILED_LOOKUP,
        (0, LookupFailureKind.GUARD_MISMATCH, 56, 0, GUARD),
    )
    small = machine.retype(ObjectType.CNODE, 4)
    assert refuse(machine, Label.CNODE_DELETE, (0, 3), cptr=small) == (Error.FAILED_LOOKUP, (0, missing, 3, 4))
    assert refuse(machine, Label.CNODE_DELETE, (0, 5), cptr=small) == (Error.FAILED_LOOKUP, (0, missing, 1, 0))


def test_occupied_destination_comes_before_the_source(machine: Machine) -> None:
    for label in COPYING:
        assert refuse(machine, label, (1, DEPTH, 0, 0, 0, 0)) == (Error.DELETE_FIRST, ())


def test_source_that_does_not_resolve(machine: Machine) -> None:
    place = machine.new_slots()
    for label in COPYING:
        assert refuse(machine, label, (place, DEPTH, 0, 0, 0, 0)) == (Error.RANGE_ERROR, (1, 64))
        assert refuse(machine, label, (place, DEPTH, 1 << 40, DEPTH, 0, 0)) == (
            Error.FAILED_LOOKUP,
            (1, LookupFailureKind.GUARD_MISMATCH, 64, 0, GUARD),
        )
        assert refuse(machine, label, (place, DEPTH, place, DEPTH, 0, 0)) == (
            Error.FAILED_LOOKUP,
            (1, LookupFailureKind.MISSING_CAPABILITY, DEPTH),
        )
        assert refuse(machine, label, (place, DEPTH, 1, DEPTH, 0, 0), [InitialSlot.TCB]) == (
            Error.FAILED_LOOKUP,
            (1, LookupFailureKind.INVALID_ROOT),
        )


@pytest.mark.parametrize("rights", range(16))
@pytest.mark.parametrize(
    ("kind", "held"),
    [
        (ObjectType.ENDPOINT, Rights.ALL),
        (ObjectType.NOTIFICATION, Rights.READ | Rights.WRITE),
        (ObjectType.REPLY, Rights.ALL),
    ],
)
def test_copy_masks_rights_silently(machine: Machine, rights: int, kind: ObjectType, held: int) -> None:
    made = machine.retype(kind)
    assert machine.slot(machine.copy(made, rights)).rights == held & rights
    assert machine.slot(made).rights == held


def test_rights_of_what_has_none_do_not_matter(machine: Machine) -> None:
    for kind, bits in ((ObjectType.TCB, 0), (ObjectType.CNODE, 4), (ObjectType.SCHED_CONTEXT, 7)):
        made = machine.retype(kind, bits)
        assert caps.read(machine.slot(machine.copy(made, Rights.NONE))) == caps.read(machine.slot(made))


def test_mint_badges_once(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    badged = machine.copy(endpoint, Rights.READ, badge=(1 << 64) - 1)
    assert caps.read(machine.slot(badged)) == caps.endpoint(machine.slot(endpoint).object, Rights.READ, (1 << 64) - 1)
    place = machine.new_slots()
    for badge in (0, 7):
        words = (place, DEPTH, badged, DEPTH, Rights.ALL, badge)
        assert refuse(machine, Label.CNODE_MINT, words) == (Error.ILLEGAL_OPERATION, ())


def test_mint_sets_a_cnodes_guard(machine: Machine) -> None:
    table = machine.retype(ObjectType.CNODE, 4)
    guarded = machine.copy(table, badge=abi.cnode_cap_data(0x2A, 6))
    cap = caps.read(machine.slot(guarded))
    assert (cap.guard, cap.guard_size, cap.radix) == (0x2A, 6, 4)
    cut = machine.copy(table, badge=abi.cnode_cap_data(0xFF, 3))
    assert caps.read(machine.slot(cut)).guard == 7
    place = machine.new_slots()
    words = (place, DEPTH, table, DEPTH, 0, abi.cnode_cap_data(0, 61))
    assert refuse(machine, Label.CNODE_MINT, words) == (Error.ILLEGAL_OPERATION, ())
    machine.root.call(CNODE, Label.CNODE_MINT, (*words[:5], abi.cnode_cap_data(0, 60)), [CNODE])


@pytest.mark.parametrize("control", [InitialSlot.IRQ_CONTROL, InitialSlot.IO_PORT_CONTROL])
def test_controls_are_not_copied_but_move(machine: Machine, control: int) -> None:
    place = machine.new_slots()
    assert refuse(machine, Label.CNODE_COPY, (place, DEPTH, control, DEPTH, 15)) == (Error.ILLEGAL_OPERATION, ())
    machine.root.call(CNODE, Label.CNODE_MOVE, (place, DEPTH, control, DEPTH), [CNODE])
    assert machine.slot(control).word0 == 0
    assert machine.slot(place).cap_type in (CapType.IRQ_CONTROL, CapType.IO_PORT_CONTROL)


def test_untyped_with_children_is_not_copied(machine: Machine) -> None:
    place = machine.new_slots()
    words = (place, DEPTH, machine.untyped, DEPTH, 15)
    assert refuse(machine, Label.CNODE_COPY, words) == (Error.REVOKE_FIRST, ())


def test_a_copied_frame_is_not_mapped(machine: Machine) -> None:
    frame = machine.retype(ObjectType.FRAME, 12)
    space = machine.retype(ObjectType.VSPACE, 12)
    machine.root.call(frame, Label.FRAME_MAP, (abi.MAPPING_BASE, Rights.ALL, 0), [space])
    assert machine.slot(frame).word1
    assert machine.slot(machine.copy(frame)).word1 == 0


@pytest.mark.parametrize("kind", [ObjectType.ENDPOINT, ObjectType.NOTIFICATION])
def test_mutate_of_what_has_badges_is_illegal(machine: Machine, kind: ObjectType) -> None:
    made = machine.retype(kind)
    place = machine.new_slots()
    assert refuse(machine, Label.CNODE_MUTATE, (place, DEPTH, made, DEPTH, 1)) == (Error.ILLEGAL_OPERATION, ())


def test_mutate_moves_a_cnode_and_sets_its_guard(machine: Machine) -> None:
    table = machine.retype(ObjectType.CNODE, 4)
    place = machine.new_slots()
    data = abi.cnode_cap_data(1, 2)
    machine.root.call(CNODE, Label.CNODE_MUTATE, (place, DEPTH, table, DEPTH, data), [CNODE])
    assert machine.slot(table).word0 == 0
    assert caps.read(machine.slot(place)).guard_size == 2


def rotate(machine: Machine, dest: int, pivot: int, source: int, dest_data: int = 0, pivot_data: int = 0) -> int:
    words = (dest, DEPTH, dest_data, pivot, DEPTH, pivot_data, source, DEPTH)
    return machine.root.invoke(CNODE, Label.CNODE_ROTATE, words, [CNODE, CNODE])[0]


def tables(machine: Machine) -> tuple[int, int, int]:
    first = machine.retype(ObjectType.CNODE, 2, count=2)
    return first, first + 1, machine.new_slots()


def test_rotate_moves_two(machine: Machine) -> None:
    source, pivot, dest = tables(machine)
    source_object, pivot_object = machine.slot(source).object, machine.slot(pivot).object
    assert rotate(machine, dest, pivot, source, abi.cnode_cap_data(1, 1), abi.cnode_cap_data(2, 2)) == Error.NO_ERROR
    moved_pivot, moved_source = caps.read(machine.slot(dest)), caps.read(machine.slot(pivot))
    assert (moved_pivot.object, moved_pivot.guard, moved_pivot.guard_size) == (pivot_object, 1, 1)
    assert (moved_source.object, moved_source.guard, moved_source.guard_size) == (source_object, 2, 2)
    assert machine.slot(source).word0 == 0


def test_rotate_swaps(machine: Machine) -> None:
    source, pivot, _ = tables(machine)
    before = machine.slot(source).object, machine.slot(pivot).object
    assert rotate(machine, source, pivot, source) == Error.NO_ERROR
    assert (machine.slot(pivot).object, machine.slot(source).object) == before


def test_rotate_refusals(machine: Machine) -> None:
    source, pivot, dest = tables(machine)
    endpoint = machine.retype(ObjectType.ENDPOINT)
    assert rotate(machine, dest, source, source) == Error.ILLEGAL_OPERATION
    assert rotate(machine, pivot, pivot, source) == Error.ILLEGAL_OPERATION
    assert rotate(machine, 1, pivot, source) == Error.DELETE_FIRST
    assert rotate(machine, dest, pivot, endpoint) == Error.ILLEGAL_OPERATION
    assert rotate(machine, dest, endpoint, source) == Error.ILLEGAL_OPERATION
    empty = machine.new_slots()
    words = (dest, DEPTH, 0, pivot, DEPTH, 0, empty, DEPTH)
    missing = LookupFailureKind.MISSING_CAPABILITY
    assert refuse(machine, Label.CNODE_ROTATE, words, [CNODE, CNODE]) == (Error.FAILED_LOOKUP, (1, missing, DEPTH))
    words = (dest, DEPTH, 0, empty, DEPTH, 0, source, DEPTH)
    assert refuse(machine, Label.CNODE_ROTATE, words, [CNODE, CNODE]) == (Error.FAILED_LOOKUP, (0, missing, DEPTH))
    assert refuse(machine, Label.CNODE_ROTATE, words, [CNODE]) == (Error.TRUNCATED_MESSAGE, ())
    assert refuse(machine, Label.CNODE_ROTATE, words[:7], [CNODE, CNODE]) == (Error.TRUNCATED_MESSAGE, ())


def test_delete_and_revoke_of_an_empty_slot_do_nothing(machine: Machine) -> None:
    place = machine.new_slots()
    machine.delete(place)
    machine.revoke(place)


@pytest.mark.parametrize("rights", range(15))
def test_cancel_badged_sends_needs_every_right(machine: Machine, rights: int) -> None:
    weaker = machine.copy(machine.retype(ObjectType.ENDPOINT), rights)
    assert refuse(machine, Label.CNODE_CANCEL_BADGED_SENDS, (weaker, DEPTH)) == (Error.ILLEGAL_OPERATION, ())


def test_cancel_badged_sends_takes_an_endpoint(machine: Machine) -> None:
    for slot in (InitialSlot.TCB, machine.retype(ObjectType.NOTIFICATION), machine.new_slots()):
        assert refuse(machine, Label.CNODE_CANCEL_BADGED_SENDS, (slot, DEPTH)) == (Error.ILLEGAL_OPERATION, ())


def test_cancel_badged_sends_aborts_that_badge_alone(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    five = machine.copy(endpoint, badge=5)
    threads = []
    for name, badge in (("five", 5), ("six", 6), ("zero", 0)):
        thread = machine.thread(name)
        machine.grant(thread, endpoint, 1, badge=badge)
        assert thread.syscall(Syscall.CALL, 1) is None
        threads.append(thread)
    five_thread, six_thread, zero_thread = threads
    machine.root.call(CNODE, Label.CNODE_CANCEL_BADGED_SENDS, (endpoint, DEPTH))
    states = [thread.state for thread in threads]
    # Its capability still exists, so the thread sends again at once: a new wait, behind the others.
    machine.root.call(CNODE, Label.CNODE_CANCEL_BADGED_SENDS, (five, DEPTH))
    assert [thread.state for thread in threads] == states
    assert six_thread.tcb.queue_next == zero_thread.tcb
    assert zero_thread.tcb.queue_next == five_thread.tcb


def test_long_lookup_walks_many_cnodes(machine: Machine) -> None:
    """A 64-bit address through 62 levels of one bit each."""
    bottom = machine.retype(ObjectType.ENDPOINT)
    below = machine.retype(ObjectType.CNODE, 1)
    words = (1, 1, bottom, DEPTH, Rights.ALL)
    machine.root.call(below, Label.CNODE_COPY, words, [CNODE])
    for _ in range(61):
        table = machine.retype(ObjectType.CNODE, 1)
        machine.root.call(table, Label.CNODE_COPY, (1, 1, below, DEPTH, Rights.ALL), [CNODE])
        below = table
    address = (1 << 62) - 1
    words = (machine.new_slots(), DEPTH, address, 62, Rights.ALL)
    machine.root.call(CNODE, Label.CNODE_COPY, words, [below])
    assert machine.slot(words[0]).object == machine.slot(bottom).object


def test_a_thread_works_on_its_own_cnode(machine: Machine) -> None:
    thread = machine.thread("worker")
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.grant(thread, endpoint, 1)
    thread.call(OWN_CNODE, Label.CNODE_MOVE, (2, 8, 1, 8), [OWN_CNODE])
    thread.call(OWN_CNODE, Label.CNODE_DELETE, (2, 8))
    assert thread.invoke(OWN_CNODE, Label.CNODE_COPY, (3, 8, 2, 8, 15), [OWN_CNODE])[0] == Error.FAILED_LOOKUP
