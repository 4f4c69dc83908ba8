# mypy: disable-error-code="empty-body"
"""Slots that a session's client pays: what is kept in them, where they end, and what comes back."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from libsel4py import Interface, InvalidMessage, NotEnoughMemory, Untyped, raises
from libsel4py.abi import SLOT_BITS, ObjectType
from libsel4py.capabilities import Notification
from libsel4py.lending import Donation, donate
from libsel4py.lowlevel.identify import identify
from libsel4py.session import SessionEnded, Sessions, TooManyUpgrades
from libsel4py.session_slots import LEAST_SLOT_BITS, MOST_SLOT_BITS, NotEnoughSlots, SessionSlots, UnknownObject
from libsel4py.signature import Word
from libsel4py.task import Task, as_task
from tests.harness import Machine
from tests.unit.sdk.kernel_cpu import bench
from tests.unit.sdk.test_sessions import Board, _revoke_as_root, free_slots

TABLES, UPGRADES, POOL_BITS = 3, 4, 14


class Shelf(Interface):
    """A server that keeps as many objects for a client as that has slots for."""

    @raises(NotEnoughMemory)
    def open(self, pool: Untyped, slot_bits: int) -> Word: ...

    @raises(NotEnoughMemory)
    def put(self, number: Word) -> int:
        """Keep another notification; its number."""

    def look(self, number: Word, kept: int) -> str:
        """What is kept by a number."""

    def drop(self, number: Word, kept: int) -> None: ...

    def room(self, number: Word) -> tuple[int, int]:
        """Slots that there are, and that are free."""

    @raises(NotEnoughMemory)
    def upgrade(self, number: Word, pool: Untyped, slot_bits: int) -> None: ...

    def close(self, number: Word) -> None: ...


class Keeper(Shelf):
    def __init__(self, task: Task) -> None:
        self.sessions: Sessions[None] = Sessions(task, slots=TABLES, upgrades=UPGRADES)
        self.meanwhile: Any = None  # called while an object is at hand

    def open(self, pool: Untyped, slot_bits: int) -> Word:
        return Word(self.sessions.open(pool, lambda session: None, slot_bits=slot_bits).number)

    def put(self, number: Word) -> int:
        with self.sessions.use(number) as session:
            return session.slots.keep(ObjectType.NOTIFICATION)

    def look(self, number: Word, kept: int) -> str:
        with self.sessions.use(number) as session, session.slots.at_hand(kept) as slot:
            if self.meanwhile is not None:
                self.meanwhile()
            Notification(slot).signal()
            found = identify(slot).type
            if found != "NOTIFICATION":
                raise LookupError(f"what was at hand is {found} now")
            return found

    def drop(self, number: Word, kept: int) -> None:
        with self.sessions.use(number) as session:
            session.slots.drop(kept)

    def room(self, number: Word) -> tuple[int, int]:
        with self.sessions.use(number) as session:
            return session.slots.total, session.slots.free_count

    def upgrade(self, number: Word, pool: Untyped, slot_bits: int) -> None:
        self.sessions.upgrade(number, pool, slot_bits=slot_bits)

    def close(self, number: Word) -> None:
        self.sessions.close(number)


@pytest.fixture
def board() -> Iterator[Board]:
    with bench(Machine()) as made:
        board = Board(made, Keeper, Shelf)
        with as_task(board.task):
            yield board


def fill(shelf: Shelf, number: Word, count: int) -> list[int]:
    return [shelf.put(number) for _ in range(count)]


def test_GEN05_what_is_kept_takes_slots_of_the_clients_and_none_of_the_servers(board: Board) -> None:
    alice, _ = board.serve()
    pool = board.lend(POOL_BITS)
    number = alice.open(pool.untyped, 5)
    before = free_slots(board)
    kept = fill(alice, number, 32)
    assert len(set(kept)) == 32
    assert {alice.look(number, each) for each in kept} == {"NOTIFICATION"}
    assert free_slots(board) == before
    assert alice.room(number) == (32, 0)
    alice.close(number)
    assert free_slots(board)[0] == before[0] + TABLES + 2
    assert alice.room(alice.open(pool.untyped, 5)) == (32, 32)  # the pool has come back whole


def test_GEN05_a_client_that_keeps_without_end_exhausts_its_own_slots(board: Board) -> None:
    alice, bob = board.serve()
    hers = alice.open(board.lend(POOL_BITS).untyped, LEAST_SLOT_BITS)
    kept = fill(alice, hers, 1 << LEAST_SLOT_BITS)
    before = free_slots(board)
    for _ in range(3):
        with pytest.raises(NotEnoughSlots, match="4 slots are all taken"):
            alice.put(hers)
    assert free_slots(board) == before
    his = bob.open(board.lend(POOL_BITS).untyped, 3)
    assert fill(bob, his, 8)
    alice.drop(hers, kept[1])
    assert alice.put(hers) == kept[1]
    assert alice.look(hers, kept[1]) == "NOTIFICATION"


def test_GEN05_slots_cost_the_server_next_to_nothing(board: Board) -> None:
    """A client pays 32 bytes for each, and must not make the server's process grow by more than that."""
    slots = SessionSlots(board.task, lambda *_: None, threading.RLock())
    tracemalloc.start()
    try:
        for table in range(TABLES):
            slots.add(table, MOST_SLOT_BITS)
        for _ in range(slots.total):
            slots.keep(ObjectType.NOTIFICATION)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert slots.total == TABLES << MOST_SLOT_BITS
    assert slots.free_count == 0
    assert taken < slots.total << SLOT_BITS


def test_GEN05_slots_that_the_pool_has_no_room_for_are_refused_and_the_pool_comes_back_whole(board: Board) -> None:
    alice, _ = board.serve()
    before = board.task.memory.statistics()
    slots = free_slots(board)
    number, donation = donate(board.task, 8, 1 << 14, lambda pool: alice.open(pool, 5), slots=32)
    assert donation.bytes == 32 << SLOT_BITS
    assert alice.room(number) == (32, 32)
    donation.free()
    with pytest.raises(SessionEnded):
        alice.room(number)
    with pytest.raises(NotEnoughMemory):
        donate(board.task, 8, 1 << 9, lambda pool: alice.open(pool, 5))
    assert board.task.memory.statistics() == before
    assert free_slots(board)[0] >= slots[0] - 1  # one stands ready for the next capability


def test_GEN05_slots_are_upgraded_and_the_request_repeated(board: Board) -> None:
    alice, _ = board.serve()
    before = board.task.memory.statistics()
    number, donation = _opened(board, alice, 1 << 16)
    kept = []
    for _ in range(12):
        kept.append(
            donation.call_for_slots(
                lambda: donation.call(lambda: alice.put(number), lambda more: alice.upgrade(number, more, 2)),
                lambda more, bits: alice.upgrade(number, more, bits),
            )
        )
    assert donation.slots == 16
    assert alice.room(number) == (16, 4)
    assert {alice.look(number, each) for each in kept} == {"NOTIFICATION"}
    donation.free()
    assert board.task.memory.statistics() == before
    with pytest.raises(SessionEnded):
        alice.put(number)
    assert len(board.keepers[0].sessions) == 0


def _opened(board: Board, shelf: Shelf, most_bytes: int) -> tuple[Word, Donation]:
    """A session with the fewest slots."""
    bits = LEAST_SLOT_BITS
    return donate(board.task, 10, most_bytes, lambda pool: shelf.open(pool, bits), slots=1 << bits)


def test_GEN05_a_client_has_no_more_slots_than_it_will_pay_and_than_the_server_permits(board: Board) -> None:
    alice, _ = board.serve()
    number, donation = _opened(board, alice, 1 << 10)
    fill(alice, number, 4)
    with pytest.raises(NotEnoughSlots):
        donation.call_for_slots(lambda: alice.put(number), lambda more, bits: alice.upgrade(number, more, bits))
    donation.free()
    number, donation = _opened(board, alice, 1 << 19)
    slots, free = free_slots(board), board.task.memory.statistics().free_bytes
    for _ in range(TABLES - 1):
        alice.upgrade(number, board.lend(10).untyped, 2)
    with pytest.raises(TooManyUpgrades, match="tables"):
        alice.upgrade(number, board.lend(10).untyped, 2)
    assert alice.room(number) == (4 * TABLES, 4 * TABLES)
    assert free_slots(board)[0] >= slots[0] - 2 * (TABLES - 1)
    assert free - board.task.memory.statistics().free_bytes == TABLES << 10


@pytest.mark.parametrize("bits", [-1, 0, LEAST_SLOT_BITS - 1, MOST_SLOT_BITS + 1, 1 << 40])
def test_GEN05_a_number_of_slots_that_makes_no_sense_is_refused(board: Board, bits: int) -> None:
    alice, _ = board.serve()
    with pytest.raises(InvalidMessage, match="a session is given"):
        alice.open(board.lend(POOL_BITS).untyped, bits)
    number = alice.open(board.lend(POOL_BITS).untyped, 2)
    before = free_slots(board)
    with pytest.raises(InvalidMessage, match="a session is given"):
        alice.upgrade(number, board.lend(POOL_BITS).untyped, bits)
    assert free_slots(board) == before
    assert alice.room(number) == (4, 4)


def test_GEN05_slots_that_do_not_fit_into_what_is_donated_leave_the_session_as_it_was(board: Board) -> None:
    alice, _ = board.serve()
    number, donation = _opened(board, alice, 1 << 16)
    pool, before = board.lend(10), free_slots(board)
    with pytest.raises(NotEnoughMemory):
        alice.upgrade(number, pool.untyped, 6)
    pool.free()
    assert alice.room(number) == (4, 4)
    assert free_slots(board) == before
    donation.free()


def test_GEN05_what_is_taken_back_while_it_is_at_hand_ends_the_session(board: Board) -> None:
    alice, bob = board.serve()
    pool = board.lend(POOL_BITS)
    before = free_slots(board)
    number = alice.open(pool.untyped, 3)
    kept = alice.put(number)
    board.keepers[0].meanwhile = lambda: _revoke_as_root(board, pool)
    with pytest.raises(SessionEnded):
        alice.look(number, kept)
    board.keepers[0].meanwhile = None
    assert len(board.keepers[0].sessions) == 0
    assert free_slots(board)[0] >= before[0] - 1
    assert bob.room(bob.open(board.lend(POOL_BITS).untyped, 3)) == (8, 8)


def test_GEN05_what_is_not_kept_is_not_there(board: Board) -> None:
    alice, bob = board.serve()
    hers = alice.open(board.lend(POOL_BITS).untyped, 2)
    kept, before = alice.put(hers), free_slots(board)
    for number in (-1, kept + 1, 1 << 40):
        with pytest.raises(UnknownObject):
            alice.look(hers, number)
        with pytest.raises(UnknownObject):
            alice.drop(hers, number)
    his = bob.open(board.lend(POOL_BITS).untyped, 2)
    with pytest.raises(UnknownObject):
        bob.look(his, kept)
    alice.drop(hers, kept)
    with pytest.raises(UnknownObject):
        alice.look(hers, kept)
    assert free_slots(board)[0] >= before[0] - TABLES - 3
