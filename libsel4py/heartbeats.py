"""Heartbeats: whether tasks still serve, asked of their server loops.

Rules. A task is asked by a signal, and answers by signalling its pulse, which nobody waits for: it is looked at when
the next question is due. Who has missed two in a row is hung. Until its first answer a life has `INIT_SECONDS` from
its start, unless its description says otherwise: it loads, opens what it stands on, and cannot answer meanwhile.
Whoever begins to ask later gives it no more: else an asker that ends again and again would find nobody hung. A hostile
task can say that it serves, for itself alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from libsel4py.capabilities import Notification
from libsel4py.description import FIRST_HEARTBEAT_US
from libsel4py.interfaces.lifecycle import FOREVER

MISSES: Final = 2  # MINIX's: one may be lost to a busy machine
INIT_SECONDS: Final = FIRST_HEARTBEAT_US / 1e6
HUNG: Final = "hung: it answers no heartbeats"


class Question(Protocol):
    """How a task is asked, and what it has answered."""

    def ask(self) -> None: ...

    def answered(self) -> bool:
        """Whether it has, since the last look."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """A task's two notifications, as a `Question`."""

    notification: Notification
    pulse: Notification

    def ask(self) -> None:
        self.notification.signal()

    def answered(self) -> bool:
        return self.pulse.poll() != 0


@dataclass(slots=True)
class _Asked:
    question: Question
    period: float
    init: float
    due: float
    misses: int = 0
    init_until: float = 0.0  # no answer counts as missed before; 0: it has answered


class Heartbeats:
    """Asks tasks, by number. Times are in seconds.

    Args:
        questions: how each is asked, and how often. first: how long a life has for its first answer, where that is not
        `INIT_SECONDS`.
    """

    def __init__(
        self, questions: Mapping[int, tuple[Question, float]], first: Mapping[int, float] = MappingProxyType({})
    ) -> None:
        self._pulses = {
            number: _Asked(question, period, max(first.get(number, INIT_SECONDS), period), FOREVER)
            for number, (question, period) in questions.items()
        }

    def next_due(self) -> float:
        """The moment for `look`; FOREVER if nobody is to be asked."""
        return min((pulse.due for pulse in self._pulses.values()), default=FOREVER)

    def misses(self, number: int) -> int:
        """How many questions a task has not answered, up to now."""
        return self._pulses[number].misses if number in self._pulses else 0

    def has_answered(self, number: int) -> bool:
        """Whether the task's life has answered a question, as the last `look` saw it."""
        return number in self._pulses and not self._pulses[number].init_until

    def begin(self, number: int, now: float, started: float | None = None) -> None:
        """A life of this task has begun, now or at ``started``: ask it, as often as its period says."""
        pulse = self._pulses.get(number)
        if pulse is None:
            return
        pulse.question.answered()  # what its former life has said
        pulse.misses, pulse.init_until = 0, (now if started is None else started) + pulse.init
        pulse.question.ask()
        pulse.due = now + pulse.period

    def end(self, number: int) -> None:
        """It does not run: it is not asked."""
        if number in self._pulses:
            self._pulses[number].due = FOREVER

    def look(self, now: float) -> list[int]:
        """Look at the answers that are due, and ask again; returns who is hung."""
        hung = []
        for number, pulse in self._pulses.items():
            if pulse.due > now:
                continue
            if pulse.question.answered():
                pulse.misses, pulse.init_until = 0, 0.0
            else:
                pulse.misses += 1
            if pulse.misses >= MISSES and now >= pulse.init_until:
                pulse.due = FOREVER
                hung.append(number)
                continue
            # An answer that is not there yet is still owed: the signal stands until the task takes it.
            if not pulse.misses:
                pulse.question.ask()
            pulse.due = now + pulse.period
        return hung
