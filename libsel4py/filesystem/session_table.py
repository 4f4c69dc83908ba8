"""All sessions of a file server: how many there may be, how they begin, and that they all end.

Rules: a session ends when its client says so, and when somebody finds its memory gone: the client itself, or whoever
needs the room. With it end the sessions that were opened by it or by what it has narrowed, however many and deep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from libsel4py.badges import Badges
from libsel4py.capabilities import Untyped
from libsel4py.filesystem.grants import Grant, Grants
from libsel4py.filesystem.handles import Handle
from libsel4py.filesystem.nodes import Nodes
from libsel4py.filesystem.sessions import FileSession, Shared
from libsel4py.filesystem.watches import Watches
from libsel4py.interfaces.file import LEAST_POOL_BITS, Directory, TooManyOpen
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.vspace import OutOfAddresses
from libsel4py.server import Server
from libsel4py.session import Session, Sessions, TooManySessions
from libsel4py.slot_shares import OF_A_CLIENT, SlotShares

SESSIONS_OF_A_GRANT: Final = 16
TENANTS: Final = 8  # of whom each may have its part of all sessions (`grants.Grant.tenant`)
MOST_DEPTH: Final = 16  # of sessions that were opened by sessions


class SessionTable:
    """Sessions of a server.

    Args:
        most: of all clients together; one client of the description has half of them at most.
        forget: the capability of an open file.
    Attributes:
        by_badge: by the badge of their own capability.
    """

    def __init__(
        self,
        server: Server,
        badges: Badges,
        grants: Grants,
        nodes: Nodes,
        watches: Watches,
        forget: Callable[[Handle], None],
        most: int,
    ) -> None:
        self.by_badge: dict[int, FileSession] = {}
        self._server = server
        self._badges = badges
        self._grants = grants
        self._shared = Shared(server.task, nodes, watches, self.sweep, forget)
        self._lent: Sessions[FileSession] = Sessions(
            server.task,
            slots=1,
            least_bits=LEAST_POOL_BITS,
            per_client=max(1, most // 2),
            most=most,
            client_of=lambda caller: caller.name,
        )
        self._most_of_a_tenant = max(1, most // TENANTS)
        self._of_tenant: Counter[tuple[str, int]] = Counter()
        self._slots = SlotShares(server.task, "buffers and watches")
        self._ending: list[FileSession] = []
        self._is_ending = False

    def open(self, origin: Grant, pool: Untyped) -> int:
        """A session with what a grant gives; returns the badge of its capability.

        Raises:
            TooManyOpen, and as `Session.open`.
        """
        self.ensure_slots(origin)
        if origin.sessions >= SESSIONS_OF_A_GRANT:
            self.sweep()
        if origin.sessions >= SESSIONS_OF_A_GRANT:
            raise TooManyOpen(f"this capability has {origin.sessions} sessions: close one")
        tenant = origin.tenant_below
        if tenant and self._of_tenant[origin.owner, tenant] >= self._most_of_a_tenant:
            self.sweep()
        if tenant and self._of_tenant[origin.owner, tenant] >= self._most_of_a_tenant:
            raise TooManyOpen(f"by what this was narrowed from {self._most_of_a_tenant} sessions are open: close one")
        if origin.session is not None and origin.session.depth >= MOST_DEPTH:
            raise TooManyOpen(f"this session was opened by a session, and so on {MOST_DEPTH} times: that is enough")
        badge = self._badges.new()
        try:
            self._lent.open(pool, lambda lent: self._begin(lent, origin, badge))
        except (TooManySessions, OutOfSlots, OutOfAddresses) as error:
            raise TooManyOpen(str(error)) from error
        return badge

    def _begin(self, lent: Session[FileSession], origin: Grant, badge: int) -> FileSession:
        made = FileSession(lent, lambda: self._lent.end(lent), origin, self._shared)
        tenant = origin.tenant_below
        grant = Grant(origin.root, origin.rights, origin.owner, origin.pinned, made, is_session=True, tenant=tenant)
        self._of_tenant[origin.owner, tenant] += 1
        self._grants.add(badge, grant)
        self._server.add_client(badge, origin.owner, Directory)
        origin.sessions += 1
        self.by_badge[badge] = made
        made.badges.add(badge)
        lent.at_end(lambda: self._ended(made))
        return made

    def _ended(self, session: FileSession) -> None:
        session.origin.sessions -= 1
        key = session.origin.owner, session.origin.tenant_below
        self._of_tenant[key] -= 1
        if not self._of_tenant[key]:
            del self._of_tenant[key]
        for badge in session.badges:
            self._grants.remove(badge)
            self.by_badge.pop(badge, None)
            self._server.remove_client(badge)
        self._end(session.children)

    def _end(self, sessions: Iterable[FileSession]) -> None:
        """End sessions one after the other, with those below them, and not one within the other."""
        self._ending += sessions
        if not self._is_ending:
            self._is_ending = True
            try:
                while self._ending:
                    self._ending.pop().close()
            finally:
                self._is_ending = False

    def sweep(self) -> int:
        """End the sessions whose clients have taken their memory back, or are dead; how many."""
        dead = [session for session in self.by_badge.values() if not session.is_alive()]
        self._end(dead)
        return len(dead)

    def ensure_slots(self, origin: Grant) -> None:
        """Before something takes some for who has this grant.

        Raises:
            TooManyOpen: the server needs the slots that are left for itself, or the client has its part of them.
        """
        if self._lacking(origin):
            self.sweep()
        lacking = self._lacking(origin)
        if lacking:
            raise TooManyOpen(lacking)

    def _lacking(self, origin: Grant) -> str:
        """Why there are no slots for it; "" if there are."""
        owner, tenant = origin.owner, origin.tenant_below
        of_owner = [each for each in self.by_badge.values() if each.origin.owner == owner]
        of_tenant = [each for each in of_owner if tenant and each.origin.tenant_below == tenant]
        return self._slots.lacking((of_owner, OF_A_CLIENT), (of_tenant, TENANTS))
