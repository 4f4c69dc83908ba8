"""Ends that a task is to decide which recovers a group: what is open, and until when it is held.

A serial number is the moment at which its case was opened, in microseconds, and so higher than any of an earlier life
of this server: no decision of an old case hits a new one. What is open when this server dies is held by root, and
follows the policy when its time is over. No two are held until the same moment: by it those are known that wait with
the task. A task that waits for its own case's decision when one before it ends, with which it would, goes on waiting
for that, and is not started before the other one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from libsel4py.interfaces.recovery import Case, Event
from servers.reincarnation.children import SECOND_US, Child, Supervisor

MOST_SHOWN: Final = 200  # characters of a reason
APART_S: Final = 1e-6  # from one moment until which a case is held to another


@dataclass(frozen=True, slots=True)
class Held:
    """An open case. ``due``: when the group's policy starts the task (0: at once); ``until``: when it is, undecided."""

    case: Case
    number: int
    due: float
    until: float


class Cases:
    """All that are open: one of a task at most."""

    def __init__(self) -> None:
        self._open: dict[int, Held] = {}  # by the task's number, oldest first
        self._last = 0

    def open(
        self, child: Child, supervisor: Supervisor, event: Event, reason: str, along: int, now: float, due: float
    ) -> float:
        """Open one; returns until when the task is held."""
        self._last = max(self._last + 1, int(now * SECOND_US))
        failures = supervisor.failures_within(now)
        case = Case(self._last, child.record.name, event, reason[:MOST_SHOWN], failures, along)
        self._open.pop(child.number, None)
        until = self._free(max(due, now + supervisor.group.recovery_timeout_us / SECOND_US))
        self._open[child.number] = Held(case, child.number, due, until)
        return until

    def _free(self, until: float) -> float:
        """The first moment from this one on until which no other case is held."""
        taken = {each.until for each in self._open.values()}
        while until in taken:
            until += APART_S
        return until

    def prolong(self, number: int, until: float) -> float:
        """The task is held until behind that moment, if it was to be for less; returns until when it is."""
        held = self._open[number]
        if held.until <= until:
            held = self._open[number] = replace(held, until=self._free(until))
        return held.until

    def until(self, number: int) -> float | None:
        """Until when the task is held; None: it has no open case."""
        held = self._open.get(number)
        return None if held is None else held.until

    def next(self, numbers: set[int], after: int) -> Case | None:
        """The oldest open one of these tasks, behind that serial number."""
        found = (each.case for each in self._open.values() if each.number in numbers)
        return next((case for case in found if case.serial > after), None)

    def is_open(self, numbers: set[int], serial: int) -> bool:
        """Whether that case is open, and of one of these tasks."""
        return any(each.case.serial == serial and each.number in numbers for each in self._open.values())

    def take(self, numbers: set[int], serial: int) -> Held | None:
        """That case, which is decided; None if it is not open, or is of none of these tasks."""
        held = next((each for each in self._open.values() if each.case.serial == serial), None)
        return self._open.pop(held.number) if held is not None and held.number in numbers else None

    def forget(self, number: int) -> None:
        """The task is not held any more."""
        self._open.pop(number, None)
