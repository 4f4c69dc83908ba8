"""The table of processes: what it remembers stays small, and who does not obey is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kerneld.host.lives import KEPT, Lives
from tests.unit.host.table import Table


def with_table(work: Callable[[Table], None]) -> None:
    async def within() -> None:
        table = Table(asyncio.get_running_loop())
        try:
            work(table)
        finally:
            table.close()

    asyncio.run(within())


def test_ever_new_names_are_not_remembered_without_end() -> None:
    def work(table: Table) -> None:
        thread = table.machine.thread("task", own_vspace=True)
        for number in range(KEPT + 100):
            table.name(thread, f"name {number}")
            table.start(thread).failed("not today")
        assert len(table.processes.lives) == KEPT

    with_table(work)


def test_a_tasks_lives_are_counted_by_its_name() -> None:
    def work(table: Table) -> None:
        thread = table.machine.thread("task", own_vspace=True)
        other = table.machine.thread("other", own_vspace=True)
        table.start(other)
        for _ in range(2):
            table.start(thread).failed("not today")
        table.start(thread)
        assert {process.name: process.life for process in table.processes} == {"task": 3, "other": 1}

    with_table(work)


def test_a_name_that_is_used_again_counts_on_while_its_last_process_ends() -> None:
    """The next one starts before the killed one is reaped."""

    def work(table: Table) -> None:
        first = table.machine.thread("task", own_vspace=True)
        second = table.machine.thread("task", own_vspace=True)
        ended = table.start(first)
        table.processes.kill_task(first.tcb.address)
        table.start(second)
        ended.failed("it was killed")
        (process,) = table.processes
        assert process.life == 2

    with_table(work)


def test_the_oldest_name_is_forgotten_first() -> None:
    lives = Lives(kept=2)
    for name in ("a", "b", "a", "c"):
        lives.end(name, lives.begin(name))
    assert [lives.begin(name) for name in ("a", "b", "c")] == [3, 1, 2]
