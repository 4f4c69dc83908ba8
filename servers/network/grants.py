"""What a capability to the network stands for: a policy, and perhaps a session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from servers.network.rules import Policy

if TYPE_CHECKING:
    from servers.network.sessions import NetworkSession

MOST_NARROWED: Final = 256  # of one client of the description, besides those of its sessions
SESSIONS_OF_A_GRANT: Final = 16


@dataclass(slots=True, eq=False)
class Grant:
    """One.

    Attributes:
        owner: the client of the description whose it is in the end. session: whose end is its end. is_session: it is
            the session's own capability, and no narrowed one. sessions: how many were opened by it.
    """

    policy: Policy
    owner: str
    session: NetworkSession | None = None
    is_session: bool = False
    is_narrowed: bool = False
    badge: int = 0
    sessions: int = 0


class Grants:
    """All of them, by badge."""

    def __init__(self) -> None:
        self.by_badge: dict[int, Grant] = {}

    def add(self, badge: int, grant: Grant) -> None:
        grant.badge = badge
        self.by_badge[badge] = grant

    def same(self, wanted: Grant) -> Grant | None:
        """A narrowed grant that is the same already."""
        return next((grant for grant in self._narrowed(wanted) if grant.policy == wanted.policy), None)

    def count(self, like: Grant) -> int:
        """How many narrowed grants the session has, or the client of the description."""
        return sum(1 for _ in self._narrowed(like))

    def of_session(self, session: NetworkSession) -> list[int]:
        """Badges that end with a session."""
        return [badge for badge, grant in self.by_badge.items() if grant.session is session]

    def _narrowed(self, like: Grant) -> Iterator[Grant]:
        for grant in self.by_badge.values():
            if grant.is_narrowed and grant.owner == like.owner and grant.session is like.session:
                yield grant
