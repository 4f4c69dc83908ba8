"""Activities: who pays for what is done on somebody's behalf (`libsel4py.interfaces.activity`), after Viengoos.

Rules: memory comes from the pool that an activity's owner has lent, and from no other, so this server's own is not used
for it. A weak capability allocates, and decides nothing: it is another badge of another interface. A child has no pool
of its own; what it allocates is charged to all above it. What clients can make this server keep is bounded:
`MOST_ACTIVITIES` of one client, `MOST_PARTS` pieces of memory of one pool, and `MOST_SLOTS` of this server's for all
pieces of one client: a small piece of a large pool takes two for each halving.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from libsel4py import Endpoint, NotEnoughMemory, Untyped, component
from libsel4py.abi import ObjectType
from libsel4py.badges import Badges
from libsel4py.banks import BankDestroyed, SpaceBank
from libsel4py.interfaces.activity import (
    Activities,
    Activity,
    ActivityGone,
    TooManyActivities,
    WeakActivity,
)
from libsel4py.lowlevel.machine import Words
from libsel4py.wire import put_failure

MOST_ACTIVITIES: Final = 32
MOST_PARTS: Final = 64
MOST_SLOTS: Final = 256


@dataclass(slots=True, eq=False)
class Principal:
    """One activity. ``bank`` has its pool, which is that of all above it; ``parts`` are slots of what it was sold."""

    owner: str
    bank: SpaceBank
    limit: int
    badge: int
    weak: int
    above: Principal | None = None
    used: int = 0
    parts: dict[int, int] = field(default_factory=dict)
    children: list[Principal] = field(default_factory=list)

    def line(self) -> Iterator[Principal]:
        """It, and all above it."""
        each: Principal | None = self
        while each is not None:
            yield each
            each = each.above

    def all_parts(self) -> int:
        """How many pieces it and those within it have."""
        return len(self.parts) + sum(each.all_parts() for each in self.children)


@component
class Main(Activities, Activity):
    """The server."""

    def start(self) -> None:
        self._badges = Badges(self.server.endpoint, self.task)
        self._by_badge: dict[int, Principal] = {}  # by either badge
        self.server.provide(self, Activity)
        self.server.provide(self, WeakActivity)

    def on_stranger(self, badge: int, label: int, words: tuple[int, ...]) -> Words | None:
        """A call by the capability of an activity that is no more."""
        return put_failure(ActivityGone("the activity was destroyed"), ())

    # --- for whoever decides

    def open(self, pool: Untyped) -> Endpoint:
        for each in self._roots():
            if not each.bank.is_alive:
                self._end(each)
        self._ensure_room(self.caller.name)
        bank = SpaceBank(self.task, pool)
        self.task.receive.unclaimed.discard(pool.cptr)
        return self._begin(self.caller.name, bank, bank.statistics().total_bytes, None)

    def child(self, limit: int) -> Endpoint:
        above = self._one()
        self._ensure_room(above.owner)
        return self._begin(above.owner, above.bank, limit, above)

    def weak(self) -> Endpoint:
        return self._badges.directory(self._one().weak)

    def set_limit(self, limit: int) -> None:
        self._one().limit = limit

    def destroy(self) -> None:
        self._end(self._one())

    # --- for whoever works on its behalf

    def memory(self, size_bits: int) -> Untyped:
        principal = self._one()
        if not 4 <= size_bits <= 39:
            raise NotEnoughMemory(0, invocation="WeakActivity.memory", explanation=f"2**{size_bits} bytes are no pool")
        for each in principal.line():
            left = max(0, each.limit - each.used)
            if 1 << size_bits > left:
                raise NotEnoughMemory(
                    left,
                    invocation="WeakActivity.memory",
                    explanation=f"2**{size_bits} bytes: the activity, or one above it, may have {left} bytes more",
                )
        *_, root = principal.line()
        if root.all_parts() >= MOST_PARTS:
            raise NotEnoughMemory(
                0, invocation="WeakActivity.memory", explanation=f"{MOST_PARTS} pieces were allocated under it already"
            )
        self._ensure_slots(root, size_bits)
        try:
            slot = principal.bank.buy(ObjectType.UNTYPED, size_bits).start
        except BankDestroyed as error:
            self._end(root)
            raise ActivityGone("its memory was taken back") from error
        principal.parts[slot] = 1 << size_bits
        for each in principal.line():
            each.used += 1 << size_bits
        return Untyped(slot)

    def usage(self) -> tuple[int, int]:
        found = self._one()
        return found.used, found.limit

    # --- what they have in common

    def _one(self) -> Principal:
        return self._by_badge[self.caller.badge]

    def _ensure_room(self, owner: str) -> None:
        has = sum(each.owner == owner for badge, each in self._by_badge.items() if badge == each.badge)
        if has >= MOST_ACTIVITIES:
            raise TooManyActivities(f"{owner} has {MOST_ACTIVITIES} activities: destroy one")

    def _ensure_slots(self, root: Principal, size_bits: int) -> None:
        """Raises NotEnoughMemory: what the client has of this server's slots may not suffice for one piece more."""
        used = sum(each.bank.slots for each in self._roots() if each.owner == root.owner)
        largest = root.bank.statistics().largest_free_bytes.bit_length() - 1
        if used + 2 * max(0, largest - size_bits) + 1 > MOST_SLOTS:
            raise NotEnoughMemory(
                0,
                invocation="WeakActivity.memory",
                explanation=f"what was allocated under {root.owner}'s activities takes {used} slots here already",
            )

    def _roots(self) -> list[Principal]:
        """The activities that have pools."""
        return [each for badge, each in self._by_badge.items() if badge == each.badge and each.above is None]

    def _begin(self, owner: str, bank: SpaceBank, limit: int, above: Principal | None) -> Endpoint:
        made = Principal(owner, bank, limit, self._badges.new(), self._badges.new(), above)
        if above is not None:
            above.children.append(made)
        self._by_badge |= {made.badge: made, made.weak: made}
        self.server.add_client(made.badge, owner, Activity)
        self.server.add_client(made.weak, f"on behalf of {owner}", WeakActivity)
        return self._badges.directory(made.badge)

    def _end(self, principal: Principal) -> None:
        for each in list(principal.children):
            self._end(each)
        for badge in (principal.badge, principal.weak):
            del self._by_badge[badge]
            self.server.remove_client(badge)
        if principal.above is None:
            principal.bank.destroy()
            return
        principal.above.children.remove(principal)
        for slot in principal.parts:
            principal.bank.sell(slot)
        for each in principal.above.line():
            each.used -= sum(principal.parts.values())
