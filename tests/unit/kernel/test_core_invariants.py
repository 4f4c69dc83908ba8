"""Each invariant of virtual cores is contradicted by RAM that somebody has damaged, and by no sound one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kerneld import invariants
from kerneld.cores import invariants as core_invariants
from kerneld.cores.record import VirtualCore
from tests.harness import Machine


class Busy:
    """The initial task runs, and three threads of two priorities wait for their turn."""

    def __init__(self) -> None:
        self.machine = Machine(cores=1, step_us=10)
        self.threads = [self.machine.thread(f"thread{number}", priority=100 + number // 2) for number in range(3)]
        self.core = VirtualCore.of(self.machine.ram, 0)
        self.machine.assert_invariants()


def says_that_it_runs(on: Busy) -> None:
    on.threads[0].tcb.waits_turn = 0


def is_nowhere(on: Busy) -> None:
    on.threads[2].tcb.ready_at = 0


def is_elsewhere(on: Busy) -> None:
    on.threads[2].tcb.priority = 7


def idle_core(on: Busy) -> None:
    on.core.current = None


def runs_a_lower_one(on: Busy) -> None:
    on.core.current = on.threads[0].tcb


def broken_link(on: Busy) -> None:
    on.threads[0].tcb.ready_prev = None


def lost_end(on: Busy) -> None:
    on.threads[1].tcb.ready_next = None


DAMAGE: dict[Callable[[Busy], None], str] = {
    says_that_it_runs: "virtual-cores",
    is_nowhere: "virtual-cores",
    is_elsewhere: "virtual-cores",
    idle_core: "chosen",
    runs_a_lower_one: "chosen",
    broken_link: "ready-queues",
    lost_end: "ready-queues",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_found(damage: Callable[[Busy], None]) -> None:
    on = Busy()
    with on.machine.ram.transaction():
        damage(on)
    assert DAMAGE[damage] in {violation.name for violation in invariants.check(on.machine.ram)}


def test_every_predicate_is_tried() -> None:
    assert {item.name for item in core_invariants.PREDICATES} == set(DAMAGE.values())
