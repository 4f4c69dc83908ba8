"""Refills by themselves: the ring, and that no window of a period's length ever holds more than the budget."""

from __future__ import annotations

import mmap

from hypothesis import given, settings
from hypothesis import strategies as st

from hw.clock import ManualClock
from hw.ram import Ram
from kerneld import layout, refills
from kerneld.boot import BootParameters, boot
from kerneld.kernel import Kernel
from kerneld.records import SchedContext
from libsel4py.abi import MIN_BUDGET_US

BUDGET, PERIOD = 1000, 10_000
SIZE_BITS = 9
AT = layout.MINIMUM_RAM - (1 << SIZE_BITS)


class Ring:
    """A context's refills, on RAM that is otherwise another's."""

    def __init__(self, most: int, size_bits: int = SIZE_BITS) -> None:
        self.ram = Ram(mmap.mmap(-1, layout.MINIMUM_RAM), layout.UNDO_LOG, layout.UNDO_LOG_BYTES)
        boot(self.ram, BootParameters(layout.MINIMUM_RAM, vspace_bits=14))
        self.clock = ManualClock(5)
        self.core = Kernel(self.ram, now=self.clock).core
        self.context = SchedContext(self.ram, AT)
        with self.ram.transaction():
            self.context.size_bits = size_bits
            refills.lay_out(self.core, self.context, most, BUDGET, PERIOD)

    def run(self, microseconds: int) -> bool:
        """Use so much up to now."""
        self.clock.advance(microseconds)
        with self.ram.transaction():
            refills.join_ready(self.context, self.clock() - microseconds)
        return self.use(microseconds)

    def use(self, microseconds: int) -> bool:
        with self.ram.transaction():
            self.used_up = refills.use(self.context, microseconds)
        return self.used_up

    def list(self) -> list[tuple[int, int]]:
        context, most = self.context, refills.capacity(self.context)
        return [refills.refill(context, (context.refill_head + n) % most) for n in range(context.refill_count)]


def test_what_is_used_comes_back_a_period_after_it_was_begun() -> None:
    ring = Ring(8)
    assert not ring.run(300)
    assert ring.list() == [(305, 700), (10_005, 300)]
    assert ring.run(700)
    assert ring.list() == [(10_005, 1000)]


def test_turns_that_are_apart_come_back_apart() -> None:
    ring = Ring(8)
    ring.run(300)
    ring.clock.advance(1000)
    ring.run(200)
    assert ring.list() == [(1505, 500), (10_005, 300), (11_305, 200)]


def test_a_full_ring_puts_the_last_refill_off() -> None:
    ring = Ring(2)
    ring.run(300)
    ring.clock.advance(1000)
    ring.run(200)
    assert ring.list() == [(1505, 500), (11_005, 500)]


def test_less_than_the_least_budget_is_as_good_as_used_up() -> None:
    ring = Ring(8)
    assert ring.run(BUDGET - MIN_BUDGET_US + 1)
    assert ring.list() == [(10_005 - MIN_BUDGET_US + 1, BUDGET)]


def test_many_budgets_at_once_put_everything_off() -> None:
    """A kernel that was away for long charges it in one step, however often that is the budget."""
    ring = Ring(8)
    assert ring.use(5000 * BUDGET + 300)
    assert ring.list() == [(5 + 5000 * PERIOD + 300, 700), (5 + 5001 * PERIOD, 300)]


def test_refills_that_touch_are_one_when_they_are_ready() -> None:
    ring = Ring(8)
    ring.run(300)
    ring.clock.advance(20_000)
    with ring.ram.transaction():
        refills.join_ready(ring.context, ring.clock())
    assert ring.list() == [(ring.clock(), BUDGET)]


step = st.tuples(st.integers(0, 15_000), st.integers(1, BUDGET))


@settings(deadline=None, max_examples=200)
@given(st.integers(2, 26), st.lists(step, max_size=40))
def test_no_window_of_a_period_holds_more_than_the_budget(most: int, steps: list[tuple[int, int]]) -> None:
    ring = Ring(most)
    turns: list[tuple[int, int]] = []
    for pause, wanted in steps:
        ring.clock.advance(pause)
        if ring.list()[0][0] > ring.clock():
            continue
        with ring.ram.transaction():
            refills.join_ready(ring.context, ring.clock())
        used = min(wanted, ring.list()[0][1])
        turns.append((ring.clock(), used))
        ring.run(used)
        found = ring.list()
        assert sum(amount for _, amount in found) == BUDGET
        assert found == sorted(found)
        assert len(found) <= most
    for begin, _ in turns:
        window = [min(at + used, begin + PERIOD) - at for at, used in turns if begin <= at < begin + PERIOD]
        assert sum(window) <= BUDGET + MIN_BUDGET_US
