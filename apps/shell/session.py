"""What a person's session at the shell consists of: the shell's connections, and what it remembers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from apps.shell.call import BadArguments
from libsel4py import ServerDied, ServiceError, Timeout
from libsel4py.environment import ChannelUse
from libsel4py.interface import Interface, find_interface, with_timeout
from libsel4py.interfaces.console import Console
from libsel4py.interfaces.names import Names
from libsel4py.interfaces.system import System
from libsel4py.task import current_task

# A command cannot be taken back while it waits: a server that has ended for good would keep the shell for ever.
ANSWER_SECONDS: Final = 10.0


class CommandError(Exception):
    """What was asked cannot be done; the text says what would work."""


class Exit(Exception):
    """The person wants to leave, with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Session:
    """What commands work with. ``services`` keeps what was looked up, by name; ``name`` is this task's."""

    console: Console
    names: Names
    system: System
    name: str
    history: list[str] = field(default_factory=list)
    services: dict[str, Interface] = field(default_factory=dict)

    def write(self, text: str) -> None:
        """Show text. If the console dies of it, its successor shows it from the beginning."""
        while True:
            try:
                self.console.write(text)
                return
            except ServerDied:
                continue

    def keep(self, line: str) -> None:
        """Remember a line, unless it is empty."""
        if line.strip():
            self.history.append(line)

    def service(self, name: str) -> Interface:
        """A client of a service by its name, with `ANSWER_SECONDS` for each call. Raises UnknownName, LookupError."""
        if name not in self.services:
            interface, endpoint = self.names.lookup(name)
            # It is kept for the session, and so may go by a channel as a connection may.
            current_task().channels.offer(endpoint, ChannelUse.AUTO)
            self.services[name] = with_timeout(find_interface(interface)(endpoint), ANSWER_SECONDS)
        return self.services[name]


def describe(error: Exception) -> str:
    """A failed command's error, for a person."""
    if isinstance(error, Timeout):
        return f"no answer within {ANSWER_SECONDS:.0f} s; ps shows whether the server runs, why TASK what it waits for"
    explanation = getattr(error, "explanation", "")
    name = "" if isinstance(error, BadArguments | CommandError | ServiceError) else f"{type(error).__name__}: "
    return f"{name}{error}" + (f"\n  {explanation}" if explanation and explanation not in str(error) else "")
