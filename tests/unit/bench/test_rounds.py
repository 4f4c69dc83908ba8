"""The arithmetic of the benchmarks: medians, spreads, ratios by rounds, and which goals are past hope."""

import itertools

import pytest

from bench.rounds import Goal, Series, interleave, median_interval, ratio_goal


def test_a_series_has_median_best_and_spread():
    series = Series("x", (4.0, 1.0, 2.0, 3.0, 5.0))
    assert (series.median, series.best) == (3.0, 1.0)
    assert series.spread == pytest.approx(4.5 / 1.5)


def test_a_ratio_is_taken_round_by_round():
    """A round in which the whole machine is ten times slower changes neither median nor best."""
    ours, peer = Series("ours", (1.0, 10.0, 1.0)), Series("peer", (3.0, 30.0, 3.0))
    faster = ratio_goal("goal", ours, peer, 2.0, faster=True)
    longer = ratio_goal("goal", ours, peer, 2.0, faster=False)
    assert (faster.value, faster.best, faster.holds) == (3.0, 3.0, True)
    assert longer.value == pytest.approx(1 / 3)
    assert (faster.unit, longer.unit) == ("times faster", "times as long")


@pytest.mark.parametrize(("count", "cut"), [(3, 0), (5, 0), (6, 0), (9, 1), (20, 5), (63, 23)])
def test_the_median_lies_between_two_of_the_values(count, cut):
    """The values' ranks are those of tables of the sign test."""
    values = [float(number) for number in range(count)]
    assert median_interval(values[::-1]) == (cut, count - 1 - cut)


def test_the_best_round_of_a_ratio_is_the_one_that_favours_us():
    ours, peer = Series("ours", (1.0, 2.0, 4.0)), Series("peer", (4.0, 4.0, 4.0))
    assert ratio_goal("goal", ours, peer, 2.0, faster=True).best == 4.0
    assert ratio_goal("goal", ours, peer, 2.0, faster=False).best == 0.25


@pytest.mark.parametrize(
    ("value", "best", "at_most", "holds", "hopeless"),
    [
        (2.0, 2.0, True, True, False),
        (5.0, 4.0, True, False, False),
        (5.0, 4.1, True, False, True),
        (2.0, 2.0, False, True, False),
        (0.5, 1.0, False, False, False),
        (0.5, 0.9, False, False, True),
    ],
)
def test_only_the_best_round_past_twice_the_goal_is_hopeless(value, best, at_most, holds, hopeless):
    goal = Goal("goal", value, best, 2.0, at_most=at_most)
    assert (goal.holds, goal.hopeless) == (holds, hopeless)


def test_a_goal_that_does_not_decide_is_never_hopeless():
    assert not Goal("goal", 9.0, 9.0, 1.0, at_most=True, decides=False).hopeless


def test_a_goal_of_none_is_hopeless_with_one():
    assert Goal("goal", 1.0, 1.0, 0.0, at_most=True).hopeless
    assert not Goal("goal", 1.0, 0.0, 0.0, at_most=True).hopeless


@pytest.mark.parametrize(("bound", "at_most"), [(0.0, False), (float("inf"), True)])
def test_what_is_stated_has_no_bound(bound, at_most):
    goal = Goal("goal", 7.0, 7.0, bound, at_most=at_most)
    assert not goal.is_bounded
    assert goal.holds


def test_the_order_of_the_contenders_turns_by_one_each_round():
    order, ticks = [], itertools.count()

    def contender(name):
        def measure():
            order.append(name)
            return float(next(ticks))

        return measure

    series = interleave({name: contender(name) for name in "abc"}, 3)
    assert "".join(order) == "abcbcacab"
    assert series["a"].values == (0.0, 5.0, 7.0)
