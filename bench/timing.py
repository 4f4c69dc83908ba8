"""How a loop is timed, the same in every process that takes part: for a stretch of time, in ever longer runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

FIRST_RUN = 8
GROWTH = 8


def seconds_per_call(calls: Callable[[int], object], seconds: float) -> float:
    """Do ``calls(count)`` again and again for about ``seconds``; returns the seconds of one call.

    The first run is not counted: it wakes the peer and warms the caches.
    """
    calls(FIRST_RUN)
    clock = time.perf_counter
    count, done, spent = FIRST_RUN, 0, 0.0
    while spent < seconds:
        start = clock()
        calls(count)
        spent += clock() - start
        done += count
        left = int((seconds - spent) / spent * done)
        count = max(1, min(count * GROWTH, left))
    return spent / done


def seconds_after_pause(call: Callable[[], object], count: int, pause: float) -> float:
    """Median of ``count`` single calls, each after a pause of ``pause`` seconds."""
    clock = time.perf_counter
    took = []
    for _ in range(count):
        time.sleep(pause)
        start = clock()
        call()
        took.append(clock() - start)
    return statistics.median(took)
