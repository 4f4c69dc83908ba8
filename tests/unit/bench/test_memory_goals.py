"""Which placements a page fault's goal is for, and what stands beside it."""

from __future__ import annotations

from bench.ipc.placement import Placement
from bench.memory import paging
from bench.rounds import Series


def series(one: float, split: float, free: float) -> dict[str, Series]:
    """Rounds of equal times; Linux's take 10 on one processor and 50 on two."""
    times = {paging.LINUX: 10.0, paging.LINUX_SPLIT: 50.0, paging.AHEAD: 5.0}
    times |= dict(zip(paging.FAULT.values(), (one, split, free), strict=True))
    return {name: Series(name, (time,) * 3) for name, time in times.items()}


def test_the_goal_is_for_a_processor_for_each_side_and_where_both_are_fastest_is_stated() -> None:
    for place, times in {
        Placement.ONE: (100.0, 120.0, 130.0),
        Placement.SPLIT: (120.0, 100.0, 130.0),
        Placement.FREE: (120.0, 130.0, 100.0),
    }.items():
        found = series(*times)
        assert paging.fastest(found) is place
        bounded, stated = (goal for goal in paging.goals(found) if "a pager in Python" in goal.name)
        assert bounded.name == f"{paging.FAULT[Placement.SPLIT]}, against {paging.LINUX_SPLIT}"
        assert (bounded.value, bounded.bound) == (times[1] / 50.0, 3.0)
        assert stated.name == f"{paging.FAULT[place]}, against {paging.LINUX}"
        assert (stated.value, stated.is_bounded) == (10.0, False)


def test_without_userfaultfd_there_is_nothing_to_hold_against() -> None:
    found = series(1.0, 2.0, 3.0)
    del found[paging.LINUX], found[paging.LINUX_SPLIT]
    assert paging.goals(found) == []
