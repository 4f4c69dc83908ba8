"""How often a task was started, and why it ended last, by its name, for people who look at `ps`.

A process knows its own number. Of those that ended the latest `KEPT` names are remembered, the oldest is forgotten
first: names are what tasks choose, and a task that takes ever new ones must not make the kernel grow.
"""

from __future__ import annotations

import os
import signal
from typing import Final

KEPT: Final = 1024


class Lives:
    """The names that have ended."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._ended: dict[str, int] = {}  # oldest first
        self._causes: dict[str, str] = {}  # likewise

    def __len__(self) -> int:
        return len(self._ended)

    def begin(self, name: str) -> int:
        """A process of this name starts: the how many-th it is, counted from 1."""
        return self._ended.pop(name, 0) + 1

    def end(self, name: str, number: int) -> None:
        """That process has ended, or is about to."""
        self._ended.pop(name, None)
        self._ended[name] = number
        if len(self._ended) > self._kept:
            del self._ended[next(iter(self._ended))]

    def reaped(self, name: str, cause: str) -> None:
        """A process of this name is gone, and why."""
        self._causes.pop(name, None)
        self._causes[name] = cause
        if len(self._causes) > self._kept:
            del self._causes[next(iter(self._causes))]

    def cause(self, name: str) -> str:
        """Why the last process of this name ended; "" if there was none, or nobody knows."""
        return self._causes.get(name, "")


def cause_of(status: int) -> str:
    """What a wait status says of a process's end."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
