"""Each invariant of budgets is contradicted by RAM that somebody has damaged, and by no sound one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kerneld import budget_invariants, inspection, invariants
from kerneld.records import SchedContext
from libsel4py.abi import InitialSlot, Label
from tests.harness import Machine


class Held:
    """A thread with a budget, of which it has used a part: its context has two refills."""

    def __init__(self) -> None:
        self.machine = machine = Machine()
        self.thread = machine.thread("held")
        words = (1000, 10_000, 8, 5, 0)
        machine.root.call(
            InitialSlot.FIRST_FREE, Label.SCHED_CONTROL_CONFIGURE_FLAGS, words, [self.thread.sched_context]
        )
        self.context = SchedContext(machine.ram, machine.slot(self.thread.sched_context).object)
        machine.pass_time(300, self.thread)
        assert machine.root.call(self.thread.sched_context, Label.SCHED_CONTEXT_CONSUMED) == (300,)

    def set_refill(self, number: int, time: int, amount: int) -> None:
        address = self.context.address + SchedContext.REFILLS + 16 * number
        self.machine.ram.set_word(address, time)
        self.machine.ram.set_word(address + 8, amount)


def too_much(held: Held) -> None:
    held.set_refill(0, 300, 701)


def disordered(held: Held) -> None:
    held.set_refill(0, 10_001, 700)


def no_refill(held: Held) -> None:
    held.context.refill_count = 0


def beyond_the_ring(held: Held) -> None:
    held.context.refill_head = 10


def beyond_the_object(held: Held) -> None:
    held.context.refill_max = 11


def unwatched(held: Held) -> None:
    held.context.watched = 0


def postponed_unwatched(held: Held) -> None:
    held.context.postponed = 1
    held.context.watched = 0


def postponed_round_robin(held: Held) -> None:
    held.context.postponed = 1
    held.context.period = 0


DAMAGE: dict[Callable[[Held], None], str] = {
    too_much: "refills",
    disordered: "refills",
    no_refill: "refills",
    beyond_the_ring: "refills",
    beyond_the_object: "refills",
    unwatched: "watched",
    postponed_unwatched: "watched",
    postponed_round_robin: "watched",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_found(damage: Callable[[Held], None]) -> None:
    held = Held()
    with held.machine.ram.transaction():
        damage(held)
    assert DAMAGE[damage] in {violation.name for violation in invariants.check(held.machine.ram)}


def test_every_predicate_is_tried() -> None:
    assert {item.name for item in budget_invariants.PREDICATES} == set(DAMAGE.values())


def test_what_people_see_of_it() -> None:
    held = Held()
    rows = [row for row in inspection.contexts(held.machine.ram) if isinstance(row, dict) and row["thread"] == "held"]
    (row,) = rows
    del row["context"]
    assert row == {
        "thread": "held",
        "budget_us": 1000,
        "period_us": 10_000,
        "badge": 5,
        "consumed_us": 0,
        "used_up": False,
        "refills": [(300, 700), (10_000, 300)],
    }
