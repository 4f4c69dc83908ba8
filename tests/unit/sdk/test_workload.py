"""What a workload counts and tells."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libsel4py.workload import KEPT_TEXTS, MARK, Workload, bucket, bucket_end


class Watch:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def told(lines: list[str]) -> dict[str, object]:
    assert lines[-1].startswith(MARK)
    found = json.loads(lines[-1][len(MARK) :])
    assert isinstance(found, dict)
    return found


def test_attempts_errors_and_wrongs_are_counted() -> None:
    lines: list[str] = []
    load = Workload("orders", (OSError,), lines.append, Watch())
    with load.attempt():
        load.check(True, "never told")
    with load.attempt():
        raise OSError("gone")
    load.check(False, "an order came twice")
    counts = told(lines)
    assert {name: counts[name] for name in ("workload", "attempts", "failed", "checks", "wrong")} == {
        "workload": "orders",
        "attempts": 2,
        "failed": 1,
        "checks": 2,
        "wrong": 1,
    }
    assert counts["texts"] == ["OSError: gone", "WRONG: an order came twice"]


def test_what_is_not_counted_goes_on_upwards() -> None:
    load = Workload("orders", (OSError,), lambda line: None)
    with pytest.raises(ZeroDivisionError), load.attempt():
        _ = 1 // 0
    assert (load.attempts, load.failed) == (1, 0)


def test_a_line_a_second_has_all_since_the_start() -> None:
    watch, lines = Watch(), list[str]()
    load = Workload("orders", write=lines.append, clock=watch)
    for _ in range(25):
        with load.attempt():
            watch.now += 0.1
    assert len(lines) == 3  # one at the start
    assert told(lines)["attempts"] in (20, 21)  # a tenth of a second is no exact number
    assert sum(count for _, count in told(lines)["spent"]) == told(lines)["attempts"]  # type: ignore[attr-defined]


def test_only_the_first_texts_are_kept() -> None:
    lines: list[str] = []
    load = Workload("orders", write=lines.append)
    for number in range(3 * KEPT_TEXTS):
        load.check(False, str(number))
    assert told(lines)["texts"] == [f"WRONG: {number}" for number in range(KEPT_TEXTS)]


@given(st.integers(0, 1 << 50))
def test_a_bucket_ends_above_its_times(microseconds: int) -> None:
    number = bucket(microseconds)
    assert microseconds < bucket_end(number)
    assert number == 0 or bucket_end(number - 1) <= microseconds
    assert bucket_end(number) <= max(microseconds * 1.25 + 1, 1)
