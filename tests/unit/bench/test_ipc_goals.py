"""The table of the fast path's goals, and its arithmetic."""

import msgspec
import pytest

from bench.ipc import goals, peers, published
from bench.rounds import Series
from bench.tasks.service import OBJECTS, PACKED_BYTES


def test_the_objects_are_as_long_as_the_goal_says():
    assert PACKED_BYTES == 480
    for _, given in OBJECTS.values():
        assert len(msgspec.msgpack.encode(given)) == PACKED_BYTES


def test_every_ratio_has_a_name_of_its_own():
    names = [each.name for each in goals.RATIOS]
    assert len(set(names)) == len(names)


def test_a_ratio_whose_peer_is_missing_is_left_out():
    series = {goals.CALL: Series(goals.CALL, (1.0,)), peers.NULL.name: Series(peers.NULL.name, (0.5,))}
    (goal,) = goals.ratios(series)
    assert (goal.value, goal.bound, goal.holds) == (2.0, 2.0, True)


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(1, 0.99, 1), (100, 0.99, 99), (100, 1.0, 100), (101, 0.99, 100), (20, 0.99, 20), (4, 0.5, 2), (3, 0.5, 2)],
)
def test_a_percentile_is_a_value_that_occurred(count, share, expected):
    assert goals.percentile(list(range(count, 0, -1)), share) == expected


def test_revocation_is_judged_by_p99_and_its_best_round():
    slow = [100e-6] * 50 + [900e-6] * 50
    fast = [100e-6] * 99 + [200e-6]
    p99, median = goals.revocation("here", [slow, fast], 250.0)
    assert (p99.value, p99.best) == (pytest.approx(900), pytest.approx(100))
    assert not p99.holds
    assert not p99.hopeless
    assert median.value == pytest.approx(100)
    assert not median.is_bounded


def test_revocation_beside_bare_c_is_stated_round_by_round():
    ours = [[100e-6] * 90 + [900e-6] * 10, [300e-6] * 100]
    bare = [[50e-6] * 100, [100e-6] * 89 + [600e-6] * 11]
    p99, median, half, most = goals.against_truncation("here", ours, bare)
    assert (p99.value, median.value) == (pytest.approx(600), pytest.approx(75))
    assert (half.value, half.best) == (pytest.approx(2.5), pytest.approx(2))
    assert (most.value, most.best) == (pytest.approx(1.25), pytest.approx(0.5))
    assert not any(each.is_bounded for each in (p99, median, half, most))


def test_what_is_in_seconds_decides_nothing():
    slow = Series("", (1e-3,))
    for goal in (
        *goals.revocation("here", [[1.0]], 250.0),
        goals.revocation_of_many([60.0], 1000),
        goals.signals(slow),
    ):
        assert not goal.hopeless


def test_revocation_of_many_is_in_milliseconds():
    goal = goals.revocation_of_many([0.06, 0.04, 0.03], 1000)
    assert (goal.value, goal.best, goal.holds) == (pytest.approx(40), pytest.approx(30), True)


def test_fairness_is_judged_by_rounds():
    goal = goals.fairness("pairs", [0.1, 0.3, 0.6], 0.25)
    assert (goal.value, goal.best, goal.holds) == (0.3, 0.6, True)


def test_signals_are_counted_in_millions_a_second():
    goal = goals.signals(Series("signal", (40e-9, 50e-9, 100e-9)))
    assert (goal.value, goal.best, goal.holds) == (pytest.approx(20), pytest.approx(25), True)


def test_no_host_system_call_means_none_in_two_hundred():
    assert goals.host_system_calls([0.004, -0.02, 0.2]).holds
    assert not goals.host_system_calls([0.01, 0.01, 0.0]).holds


def test_published_cycles_are_stated_in_nanoseconds():
    call, signal = Series(goals.CALL, (3e-7,)), Series(goals.SIGNAL, (4e-8,))
    stated = {goal.name: goal for goal in goals.side_by_side(call, signal)}
    assert not any(goal.is_bounded for goal in stated.values())
    assert stated[published.ROUND_TRIPS[0].name].value == pytest.approx(757 / 3.4)
    assert stated[f"{goals.CALL}, in nanoseconds"].value == pytest.approx(300)
