"""How a loop is timed."""

import time

import pytest

from bench import timing


class _Clock:
    """Time passes by calls alone."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        self.runs = []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self._sleep)

    def _sleep(self, seconds):
        self.now += seconds

    def calls(self, seconds):
        def calls(count):
            self.runs.append(count)
            self.now += count * seconds

        return calls


def test_a_loop_runs_for_about_the_time_asked(monkeypatch):
    clock = _Clock(monkeypatch)
    assert timing.seconds_per_call(clock.calls(1e-6), 0.1) == pytest.approx(1e-6)
    assert 0.1 <= clock.now <= 0.11
    assert len(clock.runs) < 12, "it looks at the clock rarely"


def test_a_slow_call_is_made_a_few_times_only(monkeypatch):
    clock = _Clock(monkeypatch)
    assert timing.seconds_per_call(clock.calls(1.0), 0.1) == pytest.approx(1.0)
    assert clock.runs == [timing.FIRST_RUN, timing.FIRST_RUN], "the first run is not counted"


def test_pauses_do_not_count_and_the_median_is_taken(monkeypatch):
    clock = _Clock(monkeypatch)
    took = iter((0.001, 0.5, 0.002))

    def call():
        clock.now += next(took)

    assert timing.seconds_after_pause(call, 3, 0.1) == pytest.approx(0.002)
