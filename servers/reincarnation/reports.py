"""What comes in from the kernel, faults and ends of supervised tasks, as values; and what goes out to who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libsel4py.fault_reports import FAULTED, describe_fault, exit_status, is_death, where_to_read
from libsel4py.heartbeats import Heartbeats
from libsel4py.interfaces.lifecycle import Standing, fault_source
from libsel4py.interfaces.supervision import Supervised
from servers.reincarnation.policy import Policy

MOST_SHOWN: Final = 100  # characters of what a complaint says


@dataclass(frozen=True, slots=True)
class Report:
    """One fault or end. ``status`` is an exit status. ``faulted``: the process may go on, but for one thread."""

    number: int
    thread: int
    status: int
    text: str
    faulted: bool

    @classmethod
    def of(cls, badge: int, label: int, words: tuple[int, ...]) -> Report | None:
        """What a message with no client's badge tells; None if it is no fault."""
        source = fault_source(badge)
        if source is None or len(words) < 4:
            return None
        number, thread = source
        died = is_death(label, words)
        text = describe_fault(label, words)
        text = f"thread {thread}: {text}" if thread or not died else text
        return cls(number, thread, exit_status(words[4]) if died else FAULTED, text, bool(thread) or not died)

    @property
    def is_news(self) -> bool:
        """Whether something is to follow: a further thread may end when its work is done."""
        return not self.thread or bool(self.status)

    def text_for(self, name: str) -> str:
        """In words, with where a person finds more."""
        return self.text if self.faulted else self.text + where_to_read(name, self.status)


def complaint_of(client: str, why: str) -> str:
    """Why a life was ended that this task has complained of. What it says is shown, and commands no terminal."""
    shown = "".join(character if character.isprintable() else "?" for character in why[:MOST_SHOWN])
    return f"complaint by {client}: {shown}" if shown else f"complaint by {client}"


def account(policy: Policy, heartbeats: Heartbeats, now: float) -> list[Supervised]:
    """How all tasks stand at this moment."""
    found = []
    for child in policy.children.values():
        supervisor = policy.supervisors[child.number]
        due = child.due if child.standing is Standing.WAITING else 0.0
        found.append(
            Supervised(
                name=child.record.name,
                group=supervisor.group.name,
                strategy=supervisor.group.strategy.value,
                standing=child.standing.value,
                failures=supervisor.failures_within(now),
                starts_in=max(0.0, due - now),
                heartbeats_missed=heartbeats.misses(child.number),
            )
        )
    return found
