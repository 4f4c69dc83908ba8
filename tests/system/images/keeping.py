"""A server of sessions that is told when nobody can use one any more, and two tasks that hold them."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from libsel4py import Endpoint, Interface, component
from libsel4py.badges import Badges
from libsel4py.senders import Senders


class Keeping(Interface):
    """Hands out sessions."""

    def open(self) -> Endpoint:
        """One of its own, for who asks."""

    def left(self) -> list[int]:
        """Of each session that nobody can use any more, how often it was handed out."""


@component
class Main(Keeping):
    """The server."""

    def start(self) -> None:
        self._badges = Badges(self.server.endpoint, self.task)
        self._left: list[int] = []

    def open(self) -> Endpoint:
        return Senders(self.task, self.server.endpoint, self._badges.new(), self._left.append).make()

    def left(self) -> list[int]:
        return self._left
