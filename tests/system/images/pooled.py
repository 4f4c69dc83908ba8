# mypy: disable-error-code="empty-body"
"""A server whose clients pay for what it keeps. In a row of such servers, the last one may know a bank.

The bank owns what a request runs on; told in the middle of it, it destroys that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from libsel4py import DEFER, Endpoint, Interface, NotEnoughMemory, Notification, Untyped, Word, component, raises
from libsel4py.abi import ObjectType
from libsel4py.context import ReplyToken
from libsel4py.errors import UnknownMethod
from libsel4py.interfaces.activity import Activity, WeakActivity
from libsel4py.session import Session, Sessions

PER_CLIENT = 200
SLOTS = 3


class Bank(Interface):
    def packet(self, size_bits: int) -> Untyped:
        """2**size_bits bytes of the bank's; what was handed out before is destroyed."""

    def destroys(self, activity: Endpoint) -> None:
        """What is destroyed by the next `reached`: the activity itself, and no packet."""

    def reached(self) -> None:
        """A request has come to its last server: what it runs on is destroyed."""


class Pooled(Interface):
    @raises(NotEnoughMemory)
    def open(self, pool: Untyped) -> Word: ...

    def use(self, number: Word) -> int:
        """How many objects the session has made."""

    @raises(NotEnoughMemory)
    def grow(self, number: Word, size_bits: int) -> int:
        """Make another frame for the session; how many objects it has then."""

    @raises(NotEnoughMemory)
    def upgrade(self, number: Word, pool: Untyped) -> None: ...

    def close(self, number: Word) -> None: ...

    @raises(NotEnoughMemory)
    def chain(self, pool: Untyped, depth: int) -> int:
        """Do something here, and in ``depth`` servers further on. Returns how many did."""

    @raises(NotEnoughMemory)
    def charge(self, activity: Endpoint, size_bits: int, depth: int) -> int:
        """As `chain`, on memory that each server has of the activity."""

    def overreach(self, activity: Endpoint) -> list[str]:
        """Decide over an activity in all ways that there are; which worked."""

    def own_memory(self) -> Word:
        """Bytes that are free in this server's own pool."""

    def sessions(self) -> int: ...

    def wait_ended(self, count: int) -> int:
        """Wait until so many sessions of `open` have ended, though nobody asks for them; how many there are then."""

    def free_slots(self) -> int: ...

    @raises(NotEnoughMemory)
    def open_shelf(self, pool: Untyped, slot_bits: int) -> Word:
        """A session that keeps objects in 2**slot_bits slots of its own."""

    @raises(NotEnoughMemory)
    def keep(self, number: Word) -> int:
        """Keep one object more, and use it; how many there are."""

    @raises(NotEnoughMemory)
    def upgrade_slots(self, number: Word, pool: Untyped, slot_bits: int) -> None: ...


@component
class Main(Pooled):
    def start(self) -> None:
        self._sessions: Sessions[range] = Sessions(self.task, slots=SLOTS, per_client=PER_CLIENT)
        self._ended = 0
        self._waiting: list[tuple[int, ReplyToken]] = []

    def open(self, pool: Untyped) -> Word:
        def build(session: Session[range]) -> range:
            session.at_end(self._one_ended)
            return session.make(ObjectType.FRAME, 12)

        return Word(self._sessions.open(pool, build).number)

    def use(self, number: Word) -> int:
        with self._sessions.use(number) as session:
            return len(session.state)

    def grow(self, number: Word, size_bits: int) -> int:
        with self._sessions.use(number) as session:
            session.state = range(session.state.start, session.make(ObjectType.FRAME, size_bits).stop)
            return len(session.state)

    def upgrade(self, number: Word, pool: Untyped) -> None:
        self._sessions.upgrade(number, pool)

    def close(self, number: Word) -> None:
        self._sessions.close(number)

    def chain(self, pool: Untyped, depth: int) -> int:
        with self._sessions.request(pool) as session:
            session.make(ObjectType.ENDPOINT)
            done = 0
            if depth:
                done = self.uses.further.chain(session.part(session.size_bits - 2), depth - 1)
            elif "bank" in self.task.environment.connections:
                self.uses.bank.reached()
            session.make(ObjectType.NOTIFICATION)
            return int(done) + 1

    def charge(self, activity: Endpoint, size_bits: int, depth: int) -> int:
        with self._sessions.request(WeakActivity(activity).memory(size_bits)) as session:
            session.make(ObjectType.FRAME, 12)
            done = 0
            if depth:
                done = self.uses.further.charge(activity, size_bits, depth - 1)
            elif "bank" in self.task.environment.connections:
                self.uses.bank.reached()
            session.make(ObjectType.NOTIFICATION)
            return int(done) + 1

    def overreach(self, activity: Endpoint) -> list[str]:
        whole = Activity(activity)
        attempts: dict[str, Callable[[], object]] = {
            "weak": whole.weak,
            "child": lambda: whole.child(Word(1 << 13)),
            "set_limit": lambda: whole.set_limit(Word(1 << 40)),
            "destroy": whole.destroy,
        }
        worked = []
        for name, attempt in attempts.items():
            with suppress(UnknownMethod):
                attempt()
                worked.append(name)
        return worked

    def own_memory(self) -> Word:
        return Word(self.task.memory.statistics().free_bytes)

    def sessions(self) -> int:
        return len(self._sessions)

    def wait_ended(self, count: int) -> int:
        self._waiting.append((count, self.defer_reply()))
        self._answer()
        return DEFER  # type: ignore[return-value]  # the answer comes from `_answer`

    def _one_ended(self) -> None:
        self._ended += 1
        self._answer()

    def _answer(self) -> None:
        for count, token in [each for each in self._waiting if each[0] <= self._ended]:
            self._waiting.remove((count, token))
            token.complete(self._ended)

    def free_slots(self) -> int:
        return self.task.slots.free_count

    def open_shelf(self, pool: Untyped, slot_bits: int) -> Word:
        def build(session: Session[range]) -> range:
            session.at_end(self._one_ended)
            return range(0)

        return Word(self._sessions.open(pool, build, slot_bits=slot_bits).number)

    def keep(self, number: Word) -> int:
        with self._sessions.use(number) as session:
            kept = session.slots.keep(ObjectType.NOTIFICATION)
            with session.slots.at_hand(kept) as slot:
                Notification(slot).signal()
                assert Notification(slot).poll() is not None
            return session.slots.total - session.slots.free_count

    def upgrade_slots(self, number: Word, pool: Untyped, slot_bits: int) -> None:
        self._sessions.upgrade(number, pool, slot_bits=slot_bits)
