"""Looks again at processes that may be ending, a moment later: their threads end one by one, as each gets a processor.

The event loop counts in milliseconds, and rounds half of one to none: it would look without a pause, on the very
processor that the process needs to end. So the gap is a timer's of the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Final

from hw.clock import host_microseconds
from kerneld.host.linux import make_timer, set_timer

GAP_US: Final = 100
MOST: Final = 50  # looks at one


class SecondLooks:
    """Calls ``look`` with a number `GAP_US` after it was asked to, at most `MOST` times until it is to forget it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, look: Callable[[int], None]) -> None:
        self._loop = loop
        self._look = look
        self._taken: dict[int, int] = {}  # looks, by the number
        self._due: dict[int, None] = {}
        self._timer = -1

    def ask(self, number: int) -> None:
        """Look at it once more, unless that was done `MOST` times."""
        taken = self._taken.get(number, 0)
        if taken == MOST:
            return
        self._taken[number] = taken + 1
        if not self._due:
            if self._timer < 0:
                self._timer = make_timer()
                self._loop.add_reader(self._timer, self._rang)
            set_timer(self._timer, host_microseconds() + GAP_US)
        self._due[number] = None

    def forget(self, number: int) -> None:
        """It has ended, and everybody knows. Twice does no harm."""
        self._taken.pop(number, None)
        self._due.pop(number, None)

    def close(self) -> None:
        """Look at none any more."""
        self._taken.clear()
        self._due.clear()
        if self._timer >= 0:
            self._loop.remove_reader(self._timer)
            os.close(self._timer)
            self._timer = -1

    def _rang(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._timer, 8)
        due, self._due = self._due, {}
        for number in due:
            self._look(number)
