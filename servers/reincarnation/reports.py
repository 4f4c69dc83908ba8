"""What comes in at the server's endpoint from the kernel: faults and ends of supervised tasks, as values."""

from __future__ import annotations

from dataclasses import dataclass

from libsel4py.fault_reports import FAULTED, describe_fault, exit_status, is_death, where_to_read
from libsel4py.interfaces.lifecycle import fault_source


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
