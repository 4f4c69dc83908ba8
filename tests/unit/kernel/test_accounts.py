"""The untyped tree is exact: whatever is done to memory, everything adds up to RAM."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kerneld import inspection
from kerneld.records import CapType
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights
from tests.harness import DEFAULT_RAM, Machine, Refused
from tests.memory_rows import check_sums, walk

POOL_BITS = 16


def memory(machine: Machine) -> dict[str, Any]:
    found = cast("dict[str, Any]", inspection.memory(machine.ram))
    check_sums(found)
    return found


def row_of(machine: Machine, slot: int) -> dict[str, Any]:
    """The row of a capability in the initial task's CNode."""
    place = f"root:{slot}"
    (found,) = [row for row in walk(memory(machine)["untyped"]) if place in row["held_by"]]
    return dict(found)


def retype(machine: Machine, untyped: int, kind: ObjectType, bits: int, slot: int, count: int = 1) -> None:
    machine.root.call(untyped, Label.UNTYPED_RETYPE, (kind, bits, 0, 0, slot, count), [InitialSlot.CNODE])


def delete(machine: Machine, slot: int) -> None:
    machine.root.call(InitialSlot.CNODE, Label.CNODE_DELETE, (slot, abi.WORD_BITS))


def revoke(machine: Machine, slot: int) -> None:
    machine.root.call(InitialSlot.CNODE, Label.CNODE_REVOKE, (slot, abi.WORD_BITS))


def copy(machine: Machine, destination: int, source: int) -> None:
    words = (destination, abi.WORD_BITS, source, abi.WORD_BITS, Rights.ALL)
    machine.root.call(InitialSlot.CNODE, Label.CNODE_COPY, words, [InitialSlot.CNODE])


def test_a_fresh_machine_adds_up_and_nothing_is_lost() -> None:
    found = memory(Machine())
    assert (found["ram"], found["lost"], found["padding"]) == (DEFAULT_RAM, 0, 0)
    assert set(found["paid_by_task"]) == {"root"}


def test_padding_is_what_alignment_skips() -> None:
    machine = Machine()
    pool = machine.retype(ObjectType.UNTYPED, POOL_BITS)
    slots = machine.new_slots(2)
    retype(machine, pool, ObjectType.ENDPOINT, 0, slots)
    retype(machine, pool, ObjectType.FRAME, 12, slots + 1)
    row = row_of(machine, pool)
    assert (row["made"], row["padding"], row["free"]) == (32 + 4096, 4096 - 32, (1 << 16) - 8192)


def test_memory_of_an_object_that_is_gone_is_padding_until_the_last_one_goes() -> None:
    machine = Machine()
    pool = machine.retype(ObjectType.UNTYPED, POOL_BITS)
    slots = machine.new_slots(2)
    retype(machine, pool, ObjectType.FRAME, 12, slots, 2)
    delete(machine, slots)
    row = row_of(machine, pool)
    assert (row["made"], row["padding"]) == (4096, 4096)
    delete(machine, slots + 1)
    row = row_of(machine, pool)
    assert (row["made"], row["padding"], row["free"]) == (0, 0, 1 << POOL_BITS)


def test_a_first_part_is_told_apart_from_the_whole() -> None:
    """Both are untyped memory that begins at the same address."""
    machine = Machine()
    pool = machine.retype(ObjectType.UNTYPED, POOL_BITS)
    slots = machine.new_slots(2)
    retype(machine, pool, ObjectType.UNTYPED, POOL_BITS - 1, slots)
    copy(machine, slots + 1, slots)
    whole, half, again = (row_of(machine, slot) for slot in (pool, slots, slots + 1))
    assert whole["address"] == half["address"] == again["address"]
    assert (whole["free"], half["free"], again["free"]) == (1 << 15, 0, 1 << 15)
    assert half["children"] == [again]


def test_memory_that_nothing_names_is_lost() -> None:
    machine = Machine()
    for slot in range(InitialSlot.FIRST_FREE, 100):
        try:
            row = row_of(machine, slot)
        except ValueError:
            continue
        if row["type"] == "UNTYPED":
            delete(machine, slot)
            assert memory(machine)["lost"] == row["bytes"] - row["made"]
            return


def test_what_root_makes_for_one_task_that_task_pays_and_its_pool_stays_its_own() -> None:
    machine = Machine()
    client, server = machine.thread("client"), machine.thread("server")
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.grant(client, endpoint, 20)
    machine.grant(server, endpoint, 20)
    pool = machine.retype(ObjectType.UNTYPED, POOL_BITS)
    machine.grant(client, pool, 21)
    words = (ObjectType.UNTYPED, 14, 0, 0, 22, 1)
    client.call(21, Label.UNTYPED_RETYPE, words, [250 + 1])
    rows = list(walk(memory(machine)["untyped"]))
    pools = [row for row in rows if row["type"] == "UNTYPED" and "client:21" in row["held_by"]]
    assert [(row["paid_by"], row["made"]) for row in pools] == [("client", 1 << 14)]
    part = pools[0]["children"][0]
    assert (part["paid_by"], part["held_by"]) == ("client", ["client:22"])
    (shared,) = [row for row in rows if "client:20" in row["held_by"]]
    assert shared["paid_by"] == "root"
    assert {row["paid_by"] for row in rows if row["type"] == "TCB"} == {"root", "client", "server"}
    paid = memory(machine)["paid_by_task"]
    assert paid["client"] - paid["server"] == 1 << POOL_BITS


SIZES = {
    ObjectType.UNTYPED: (4, 15),
    ObjectType.FRAME: (12, 14),
    ObjectType.CNODE: (1, 6),
    ObjectType.SCHED_CONTEXT: (7, 9),
    ObjectType.VSPACE: (13, 14),
}
SLOTS = 24
step = st.one_of(
    st.tuples(
        st.just("retype"),
        st.integers(0, SLOTS - 1),
        st.sampled_from([*SIZES, ObjectType.ENDPOINT, ObjectType.TCB, ObjectType.NOTIFICATION, ObjectType.REPLY]),
        st.integers(0, 15),
        st.integers(0, SLOTS - 1),
        st.integers(1, 3),
    ),
    st.tuples(st.just("copy"), st.integers(0, SLOTS - 1), st.integers(0, SLOTS - 1)),
    st.tuples(st.sampled_from(["delete", "revoke"]), st.integers(0, SLOTS - 1)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(step, max_size=25))
def test_sums_hold_after_any_sequence_and_the_pool_comes_back_whole(steps: list[tuple[Any, ...]]) -> None:
    machine = Machine()
    pool = machine.retype(ObjectType.UNTYPED, POOL_BITS)
    first = machine.new_slots(SLOTS)
    copy(machine, first, pool)
    for what, slot, *rest in steps:
        try:
            match what:
                case "retype" if machine.slot(first + slot).cap_type == CapType.UNTYPED:
                    kind, bits, destination, count = rest
                    low, high = SIZES.get(kind, (0, 0))
                    retype(machine, first + slot, kind, min(max(bits, low), high), first + destination, count)
                case "copy":
                    copy(machine, first + rest[0], first + slot)
                case "delete":
                    delete(machine, first + slot)
                case "revoke":
                    revoke(machine, first + slot)
        except Refused:
            continue
        memory(machine)
    revoke(machine, pool)
    row = row_of(machine, pool)
    assert (row["children"], row["free"]) == ([], 1 << POOL_BITS)
