"""Moments at which something is to be done, of one thread.

Times are seconds of `time.monotonic`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True, order=True)
class Timer:
    """One moment. It is forgotten when it has come, or was cancelled."""

    when: float
    number: int
    action: Callable[[], None] | None = field(compare=False)


class Timers:
    """All of them."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._numbers = itertools.count()
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def at(self, when: float, action: Callable[[], None]) -> Timer:
        """Have something done at a moment."""
        timer = Timer(when, next(self._numbers), action)
        heapq.heappush(self._heap, timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Have it not done; nothing happens if it was done, or cancelled."""
        if timer.action is None:
            return
        timer.action = None
        self._cancelled += 1
        if self._cancelled > 64 and 2 * self._cancelled > len(self._heap):
            self._heap = [each for each in self._heap if each.action is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next(self) -> float | None:
        """The first moment, or None."""
        while self._heap and self._heap[0].action is None:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0].when if self._heap else None

    def run(self, now: float) -> None:
        """Do what is due."""
        while (first := self.next()) is not None and first <= now:
            timer = heapq.heappop(self._heap)
            action, timer.action = timer.action, None
            if action is not None:
                action()
