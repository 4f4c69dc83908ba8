"""When the kernel is asked to look at whose budget. Real timers; sleepers are looked at together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import thread_time_ns

import pytest

from hw.clock import host_microseconds
from kerneld.host import budget_alarms
from kerneld.host.budget_alarms import DOZE_US, LOOKS_SHARE, SLEEPERS_EVERY_US, SLOWEST, BudgetAlarms

SLEEPER, OTHER, BUSY = 0x1000, 0x2000, 0x3000
BUDGET_US = 500


class Looks:
    """A kernel that asks for another look at each, as of threads that may run."""

    def __init__(self) -> None:
        self.asleep = {SLEEPER, OTHER}
        self.asked = 0  # whether one sleeps
        self.takes_us = 0  # of the processor's time, to say so
        self.looked: dict[int, int] = {}
        self.changed = asyncio.Event()
        self.alarms = BudgetAlarms(asyncio.get_running_loop(), self._due_us, self._look, self._sleeps)

    def _due_us(self, context: int) -> int:
        return host_microseconds() + BUDGET_US

    def _look(self, context: int) -> None:
        self.looked[context] = self.looked.get(context, 0) + 1
        self.changed.set()
        self.alarms.watch(context)

    def _sleeps(self, context: int) -> bool:
        self.asked += 1
        self.changed.set()
        end = thread_time_ns() + 1000 * self.takes_us
        while thread_time_ns() < end:
            pass
        return context in self.asleep

    async def until(self, done: Callable[[], bool]) -> None:
        while not done():
            self.changed.clear()
            await self.changed.wait()


def with_looks(work: Callable[[Looks], Awaitable[None]]) -> None:
    async def run() -> None:
        looks = Looks()
        try:
            await work(looks)
        finally:
            looks.alarms.close()

    asyncio.run(run())


def test_who_runs_is_looked_at_when_its_budget_could_be_used_up_and_who_sleeps_is_not() -> None:
    async def work(looks: Looks) -> None:
        looks.alarms.watch(SLEEPER)
        looks.alarms.watch(BUSY)
        await looks.until(lambda: looks.looked.get(BUSY, 0) == 20)
        assert SLEEPER not in looks.looked
        assert len(looks.alarms) == 2

    with_looks(work)


def test_all_who_sleep_are_looked_at_together_and_not_as_often_as_their_budgets_could_be_used_up() -> None:
    async def work(looks: Looks) -> None:
        begin = host_microseconds()
        looks.alarms.watch(SLEEPER)
        looks.alarms.watch(OTHER)
        await looks.until(lambda: looks.asked >= 2 * 2 + 3 * 2)
        assert host_microseconds() - begin >= 3 * SLEEPERS_EVERY_US
        assert not looks.looked

    with_looks(work)


@pytest.mark.parametrize(("takes_us", "least_us"), [(0, 0), (100, 2 * LOOKS_SHARE * 100), (5000, SLOWEST * 2 * 10_000)])
def test_where_looks_take_long_they_are_fewer_but_not_without_end(
    monkeypatch: pytest.MonkeyPatch, takes_us: int, least_us: int
) -> None:
    monkeypatch.setattr(budget_alarms, "SLEEPERS_EVERY_US", 1000)
    monkeypatch.setattr(budget_alarms, "A_SLEEPER_US", 10_000)

    async def work(looks: Looks) -> None:
        for context in (SLEEPER, OTHER):
            looks.alarms.watch(context)
        await looks.until(lambda: looks.asked >= 2 * 2)
        looks.takes_us = takes_us
        await looks.until(lambda: looks.asked >= 3 * 2)
        begin = host_microseconds()
        await looks.until(lambda: looks.asked >= 4 * 2)
        # From the end of one look at all of them to the end of the next.
        assert host_microseconds() - begin >= max(least_us, 2 * 10_000) * 3 // 4

    with_looks(work)


def test_one_whose_clock_goes_on_late_is_looked_at_soon() -> None:
    """A thread of several is read to the host's last tick."""

    async def work(looks: Looks) -> None:
        begin = host_microseconds()
        looks.alarms.watch(SLEEPER)
        await looks.until(lambda: looks.asked == 1)
        looks.asleep.remove(SLEEPER)
        await looks.until(lambda: looks.looked.get(SLEEPER, 0) == 1)
        assert looks.asked == 2
        assert host_microseconds() - begin >= DOZE_US

    with_looks(work)


def test_one_that_has_woken_up_is_looked_at_as_ever() -> None:
    async def work(looks: Looks) -> None:
        looks.alarms.watch(SLEEPER)
        looks.alarms.watch(OTHER)
        await looks.until(lambda: looks.asked == 4)
        looks.asleep.remove(SLEEPER)
        await looks.until(lambda: looks.looked.get(SLEEPER, 0) == 20)
        assert OTHER not in looks.looked
        assert len(looks.alarms) == 2

    with_looks(work)


def test_one_that_has_a_new_alarm_or_is_gone_sleeps_no_more() -> None:
    async def work(looks: Looks) -> None:
        for context in (SLEEPER, OTHER):
            looks.alarms.watch(context)
        await looks.until(lambda: looks.asked == 4)
        looks.asleep.clear()
        begin = host_microseconds()
        looks.alarms.forget(OTHER)
        looks.alarms.watch(SLEEPER)
        await looks.until(lambda: looks.looked.get(SLEEPER, 0) == 1)
        assert host_microseconds() - begin >= BUDGET_US
        assert len(looks.alarms) == 1
        await looks.until(lambda: looks.looked[SLEEPER] == 100)
        assert OTHER not in looks.looked

    with_looks(work)
