"""Time, as the machine knows it: microseconds of a clock that never goes back.

The machine's clock is the host's CLOCK_MONOTONIC, which all its processes share: a kernel that is started again reads
on where the one before it stopped. A test uses `ManualClock`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Microseconds = Callable[[], int]


def host_microseconds() -> int:
    """Microseconds of CLOCK_MONOTONIC."""
    return time.monotonic_ns() // 1000


class ManualClock:
    """A clock that goes when it is told to. For tests."""

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def __call__(self) -> int:
        return self._now

    def advance(self, microseconds: int) -> None:
        """Raises ValueError if told to go back."""
        if microseconds < 0:
            raise ValueError("a clock does not go back; give a number of microseconds that is not negative")
        self._now += microseconds
