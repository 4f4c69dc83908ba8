"""Which of our placements a page fault's goal is for, and what stands beside it."""

from __future__ import annotations

from bench.ipc.placement import Placement
from bench.memory import paging
from bench.rounds import Series


def series(one: float, split: float, free: float) -> dict[str, Series]:
    """Rounds of equal times; Linux's take 10 on one processor and 50 on two."""
    times = {paging.LINUX: 10.0, paging.LINUX_SPLIT: 50.0, paging.AHEAD: 5.0}
    times |= dict(zip(paging.FAULT.values(), (one, split, free), strict=True))
    return {name: Series(name, (time,) * 3) for name, time in times.items()}


def test_the_goal_is_for_the_placement_in_which_ours_is_fastest() -> None:
    for place, times in {
        Placement.ONE: (100.0, 120.0, 130.0),
        Placement.SPLIT: (120.0, 100.0, 130.0),
        Placement.FREE: (120.0, 130.0, 100.0),
    }.items():
        found = series(*times)
        assert paging.fastest(found) is place
        (bounded,) = [goal for goal in paging.goals(found) if goal.is_bounded and "a pager in Python" in goal.name]
        assert bounded.name.startswith(paging.FAULT[place])
        assert (bounded.value, bounded.bound) == (2.0, 3.0)


def test_both_with_a_processor_for_each_side_are_stated() -> None:
    name = f"{paging.FAULT[Placement.SPLIT]}, against {paging.LINUX_SPLIT}"
    for times, decides in (((100.0, 120.0, 130.0), False), ((120.0, 100.0, 130.0), True)):
        (split,) = [goal for goal in paging.goals(series(*times)) if goal.name == name]
        assert (split.value, split.is_bounded) == (times[1] / 50.0, decides)


def test_without_userfaultfd_there_is_nothing_to_hold_against() -> None:
    found = series(1.0, 2.0, 3.0)
    del found[paging.LINUX], found[paging.LINUX_SPLIT]
    assert paging.goals(found) == []
