"""Holds sessions of `keeping`, its own and those that another task gives it."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from libsel4py import Endpoint, Interface, component, uses
from tests.system.images.keeping import Keeping


class Holding(Interface):
    """What the shell has it do."""

    def fetch(self) -> int:
        """Open one more; how many it holds."""

    def give(self) -> int:
        """Give the last one to the other task as well; how many that holds."""

    def take(self, session: Endpoint) -> int:
        """Hold one more."""

    def drop(self) -> int:
        """Let go of the last one."""

    def held(self) -> int:
        """How many it holds."""


class Base(Holding):
    """What both do."""

    def start(self) -> None:
        self._sessions: list[Endpoint] = []

    def take(self, session: Endpoint) -> int:
        self._sessions.append(session)
        return self.held()

    def drop(self) -> int:
        self.task.delete(self._sessions.pop())
        return self.held()

    def held(self) -> int:
        return len(self._sessions)


@component
class Main(Base):
    """The task."""

    keeper = uses(Keeping)
    friend = uses(Holding)

    def fetch(self) -> int:
        return self.take(self.keeper.open())

    def give(self) -> int:
        return self.friend.take(self._sessions[-1])
