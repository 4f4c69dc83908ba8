# mypy: disable-error-code="empty-body"
"""Sessions that their clients pay for, on the pure kernel: what is made, given on, taken back, and left behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kerneld import caps
from kerneld.deletion import revoke
from kerneld.records import Slot
from kerneld.work import Work
from libsel4py import Endpoint, Interface, InvalidMessage, NotEnoughMemory, RemoteError, Reply, Untyped, abi, raises
from libsel4py.abi import InitialSlot, Label, ObjectType
from libsel4py.environment import Environment
from libsel4py.environment import Slot as TaskSlot
from libsel4py.lending import LentPool, donate, lend, lend_enough
from libsel4py.server import Server
from libsel4py.session import (
    Session,
    SessionEnded,
    Sessions,
    SessionStatistics,
    TooManySessions,
    TooManyUpgrades,
    UnknownSession,
)
from libsel4py.signature import Word
from libsel4py.task import Task, as_task
from tests.harness import DeviceRegion, Machine, Thread
from tests.unit.sdk.kernel_cpu import FREE_SLOTS, OWN_REPLY_SLOT, Bench, bench

SERVED, NEXT, BADGES = 20, 21, (77, 78)
PER_CLIENT, SLOTS, UPGRADES = 3, 4, 2


class Store(Interface):
    """A server that keeps something for its clients."""

    @raises(NotEnoughMemory)
    def open(self, pool: Untyped, objects: int) -> Word: ...

    def objects(self, number: Word) -> int: ...

    def grow(self, number: Word, objects: int) -> int: ...

    @raises(NotEnoughMemory)
    def grow_by_frame(self, number: Word, size_bits: int) -> int: ...

    @raises(NotEnoughMemory)
    def upgrade(self, number: Word, pool: Untyped) -> None: ...

    def close(self, number: Word) -> None: ...

    @raises(NotEnoughMemory)
    def chain(self, pool: Untyped, depth: int) -> int:
        """Make an object here, and in ``depth`` servers further on; of each its part of the pool."""

    def sweep(self) -> int: ...

    def swap(self, pool: Untyped) -> None:
        """Delete what came, put something else into its slot, and fail."""

    def fail(self, number: Word) -> None: ...


class Keeper(Store):
    def __init__(self, task: Task, further: Store | None = None) -> None:
        self.sessions: Sessions[list[int]] = Sessions(
            task, slots=SLOTS, per_client=PER_CLIENT, most=5, upgrades=UPGRADES
        )
        self._further = further
        self.ended: list[int] = []
        self.meanwhile: Any = None  # called while a chain's request is under way

    def open(self, pool: Untyped, objects: int) -> Word:
        def build(session: Session[list[int]]) -> list[int]:
            session.at_end(lambda: self.ended.append(session.number))
            return [session.make(ObjectType.FRAME, 12).start for _ in range(objects)]

        return Word(self.sessions.open(pool, build).number)

    def objects(self, number: Word) -> int:
        with self.sessions.use(number) as session:
            return len(session.state)

    def grow(self, number: Word, objects: int) -> int:
        with self.sessions.use(number) as session:
            if self.meanwhile is not None:
                self.meanwhile()
            session.state += session.make(ObjectType.ENDPOINT, 0, objects)
            return len(session.state)

    def grow_by_frame(self, number: Word, size_bits: int) -> int:
        with self.sessions.use(number) as session:
            session.state += session.make(ObjectType.FRAME, size_bits)
            return len(session.state)

    def upgrade(self, number: Word, pool: Untyped) -> None:
        self.sessions.upgrade(number, pool)

    def close(self, number: Word) -> None:
        self.sessions.close(number)

    def chain(self, pool: Untyped, depth: int) -> int:
        with self.sessions.request(pool) as session:
            session.make(ObjectType.ENDPOINT)
            done = 0
            if depth and self._further is not None:
                done = self._further.chain(session.part(session.size_bits - 2), depth - 1)
            if self.meanwhile is not None:
                self.meanwhile()
            session.make(ObjectType.ENDPOINT)
            return done + 1

    def sweep(self) -> int:
        return self.sessions.sweep()

    def swap(self, pool: Untyped) -> None:
        task = self.sessions._task
        task.delete(pool)
        slot = task.slots.allocate()
        assert slot == pool.cptr
        task.cnode.copy(slot, task.cnode, SERVED)
        raise ZeroDivisionError(slot)

    def fail(self, number: Word) -> None:
        with self.sessions.use(number):
            raise ZeroDivisionError("a bug of the server's own")


class Board:
    """A machine with servers, and the initial task as their client."""

    def __init__(self, made: Bench, keeper: Any = Keeper, interface: Any = Store) -> None:
        self.bench, self._keeper, self._interface = made, keeper, interface
        self.machine = made.machine
        self.task = Task(Environment("root", first_free_slot=self.machine.new_slots(100), free_slots=100))
        self.task.memory.add(Untyped(self.machine.retype(ObjectType.UNTYPED, 20)), 20)
        self.keepers: list[Keeper] = []
        self.tasks: list[Task] = []
        self.stores: list[Thread] = []
        self._pending: list[Any] = []

    def serve(self, count: int = 1, *, told: bool = False) -> list[Any]:
        """``count`` servers in a row, each a client of the next; a client of the first, by each badge.

        ``told``: they have a notification, and so learn of deaths.
        """
        endpoints = [self.machine.retype(ObjectType.ENDPOINT) for _ in range(count)]
        for number, endpoint in enumerate(endpoints):
            thread = self.bench.thread(f"store{number}")
            self.machine.grant(thread, endpoint, SERVED)
            if told:
                bell = self.machine.retype(ObjectType.NOTIFICATION)
                self.machine.grant(thread, bell, TaskSlot.NOTIFICATION)
                self.machine.root.call(thread.cap, Label.TCB_BIND_NOTIFICATION, (), [bell])
            if number + 1 < count:
                self.machine.grant(thread, endpoints[number + 1], NEXT, badge=BADGES[0])
            environment = Environment(thread.tcb.name, first_free_slot=FREE_SLOTS[0], free_slots=FREE_SLOTS[1])
            task = Task(environment)
            further = [self._interface(Endpoint(NEXT))] if number + 1 < count else []
            keeper = self._keeper(task, *further)
            self.keepers.append(keeper)
            self.stores.append(thread)
            self.tasks.append(task)
            self._pending.append((thread, task, keeper))
        keys = [Endpoint(self.machine.copy(endpoints[0], badge=badge)) for badge in BADGES]
        clients = [self._interface(key) for key in keys]
        for thread, task, keeper in self._pending:
            self.bench.start(thread, task, _work(keeper, self._interface))
        self._pending.clear()
        return clients

    def lend(self, bits: int = 16) -> LentPool:
        return lend(self.task, bits)


def _work(keeper: Any, interface: Any) -> Any:
    def work(task: Task) -> None:
        server = Server(Endpoint(SERVED), task)
        server.provide(keeper, interface, clients={BADGES[0]: "alice", BADGES[1]: "bob"})
        server.serve(Reply(OWN_REPLY_SLOT))

    return work


@pytest.fixture
def board() -> Iterator[Board]:
    with bench(Machine(devices=(DeviceRegion(0xFE00_0000, 12),))) as made:
        board = Board(made)
        with as_task(board.task):
            yield board


def free_slots(board: Board) -> list[int]:
    return [task.slots.free_count for task in board.tasks]


def test_a_session_is_paid_from_the_pool_and_gives_it_back_whole(board: Board) -> None:
    alice, _ = board.serve()
    before = free_slots(board)
    pool = board.lend()
    number = alice.open(pool.untyped, 3)
    assert alice.objects(number) == 3
    assert alice.grow(number, 1) == 4
    alice.close(number)
    assert board.keepers[0].ended == [number]
    assert free_slots(board)[0] >= before[0] - 1  # one stands ready for the next capability
    again = alice.open(pool.untyped, 3)  # it has no children any more, or could not travel
    assert again > number
    with pytest.raises(UnknownSession):
        alice.objects(number)


def test_what_the_client_takes_back_ends_the_session(board: Board) -> None:
    alice, _ = board.serve()
    with board.lend() as pool:
        number = alice.open(pool.untyped, 2)
        before = free_slots(board)
        pool.take_back()
        with pytest.raises(SessionEnded, match="taken back"):
            alice.objects(number)
        assert board.keepers[0].ended == [number]
        with pytest.raises(UnknownSession):
            alice.objects(number)
        assert free_slots(board) == [before[0] + SLOTS + 2]
        assert alice.objects(alice.open(pool.untyped, 1)) == 1
    assert board.task.memory.statistics().largest_free_bytes == 1 << 20


def test_what_is_taken_back_in_the_middle_of_a_request_ends_it(board: Board) -> None:
    alice, bob = board.serve()
    pool = board.lend()
    number = alice.open(pool.untyped, 1)
    board.keepers[0].meanwhile = lambda: _revoke_as_root(board, pool)
    with pytest.raises(SessionEnded):
        alice.grow(number, 1)
    board.keepers[0].meanwhile = None
    assert len(board.keepers[0].sessions) == 0
    assert bob.objects(bob.open(board.lend().untyped, 1)) == 1


def _revoke_as_root(board: Board, pool: LentPool) -> None:
    """As the client does in another thread, while its own waits for the answer: by the machine's hand."""
    machine = board.machine
    slot = machine.slot(pool.untyped.cptr)
    with machine.ram.transaction():
        assert revoke(machine.kernel.core, slot, Work())


def test_a_sweep_finds_what_nobody_uses(board: Board) -> None:
    alice, _ = board.serve()
    pools = [board.lend() for _ in range(3)]
    numbers = [alice.open(pool.untyped, 1) for pool in pools]
    pools[0].take_back()
    pools[2].take_back()
    assert len(board.keepers[0].sessions) == 3
    assert alice.sweep() == 2
    assert alice.sweep() == 0
    assert alice.objects(numbers[1]) == 1


def test_a_server_is_told_of_what_was_taken_back(board: Board) -> None:
    """Nobody asks for it, and nobody sweeps."""
    alice, bob = board.serve(told=True)
    keeper, before = board.keepers[0], free_slots(board)
    pools = [board.lend() for _ in range(3)]
    numbers = [alice.open(pool.untyped, 2) for pool in pools]
    kept = bob.open(board.lend().untyped, 1)
    pools[1].take_back()
    assert bob.objects(kept) == 1  # its answer comes after the signal was taken
    assert keeper.ended == [numbers[1]]
    alice.close(numbers[0])
    pools[2].take_back()
    assert bob.objects(kept) == 1
    assert keeper.ended == [numbers[1], numbers[0], numbers[2]]
    bob.close(kept)
    assert len(board.tasks[0].deaths) == 0
    assert free_slots(board)[0] >= before[0] - 5  # the bells of its notices, and one ready for the next capability


def test_a_pool_without_room_for_a_notice_is_swept(board: Board) -> None:
    alice, _ = board.serve(told=True)
    pool = board.lend(12)
    alice.open(pool.untyped, 1)  # a frame takes all of it
    pool.take_back()
    assert (alice.sweep(), board.keepers[0].ended) == (1, [1])


def test_opening_sweeps_so_that_dead_sessions_never_count(board: Board) -> None:
    alice, _ = board.serve()
    for _ in range(20):
        with board.lend() as pool:
            alice.open(pool.untyped, 1)
    assert len(board.keepers[0].sessions) <= PER_CLIENT


def test_a_client_that_opens_without_end_stops_at_its_own_limit(board: Board) -> None:
    alice, bob = board.serve()
    pools = [board.lend(13) for _ in range(6)]
    for pool in pools[:PER_CLIENT]:
        alice.open(pool.untyped, 1)
    before = free_slots(board)
    with pytest.raises(TooManySessions, match="alice has 3 sessions"):
        alice.open(pools[3].untyped, 1)
    assert free_slots(board) == before
    assert bob.objects(bob.open(pools[4].untyped, 1)) == 1
    assert board.keepers[0].sessions.statistics() == SessionStatistics(4, 2, 4 << 13, 4, 1)


def test_a_pool_that_is_too_small_comes_back_whole_and_a_larger_one_works(board: Board) -> None:
    alice, _ = board.serve()
    before = board.task.memory.statistics().free_bytes
    number, pool = lend_enough(board.task, 12, 16, lambda untyped: alice.open(untyped, 3))
    assert (pool.size_bits, alice.objects(number)) == (14, 3)
    pool.free()
    assert board.task.memory.statistics().free_bytes == before
    with pytest.raises(NotEnoughMemory):
        lend_enough(board.task, 4, 13, lambda untyped: alice.open(untyped, 3))
    assert board.task.memory.statistics().free_bytes == before
    assert len(board.keepers[0].sessions) <= 1  # that of the pool that was freed, until it is swept


def test_GEN05_a_request_that_fails_for_want_of_quota_is_repeated_with_more_and_all_comes_back(board: Board) -> None:
    alice, _ = board.serve()
    before = board.task.memory.statistics()
    number, donation = donate(board.task, 13, 1 << 16, lambda pool: alice.open(pool, 1))
    with pytest.raises(NotEnoughMemory):
        alice.grow_by_frame(number, 12)
    assert donation.call(lambda: alice.grow_by_frame(number, 12), lambda more: alice.upgrade(number, more)) == 2
    assert donation.bytes == 1 << 14
    assert alice.objects(number) == 2
    donation.free()
    assert board.task.memory.statistics() == before
    with pytest.raises(SessionEnded):
        alice.objects(number)


def test_GEN05_a_client_has_no_more_than_it_will_give_and_the_server_takes_only_so_many_parts(board: Board) -> None:
    alice, bob = board.serve()
    number, donation = donate(board.task, 13, 1 << 14, lambda pool: alice.open(pool, 1))
    with donation:
        with pytest.raises(NotEnoughMemory):
            donation.call(lambda: alice.grow_by_frame(number, 14), lambda more: alice.upgrade(number, more))
        assert donation.bytes == donation.most_bytes
    free = board.task.memory.statistics().free_bytes
    number, donation = donate(board.task, 13, 1 << 19, lambda pool: alice.open(pool, 1))
    slots = free_slots(board)
    with pytest.raises(TooManyUpgrades):
        donation.call(lambda: alice.grow_by_frame(number, 19), lambda more: alice.upgrade(number, more))
    assert free_slots(board)[0] >= slots[0] - 2 * UPGRADES
    assert (alice.objects(number), bob.objects(bob.open(board.lend(13).untyped, 1))) == (1, 1)
    alice.close(number)
    donation.free()
    assert board.task.memory.statistics().free_bytes == free - (1 << 13)


@pytest.mark.parametrize("told", [False, True])
def test_GEN05_a_part_that_is_taken_back_ends_the_session_and_the_server_lets_go_of_all(
    board: Board, told: bool
) -> None:
    alice, bob = board.serve(told=told)
    before = free_slots(board)
    number, more = alice.open(board.lend(13).untyped, 1), board.lend(14)
    alice.upgrade(number, more.untyped)
    assert alice.grow_by_frame(number, 13) == 2
    with pytest.raises(UnknownSession):
        bob.upgrade(number, board.lend(13).untyped)
    more.take_back()
    if told:
        assert bob.sweep() == 0
    else:
        with pytest.raises(SessionEnded, match="taken back"):
            alice.objects(number)
    assert board.keepers[0].ended == [number]
    assert len(board.keepers[0].sessions) == len(board.tasks[0].deaths) == 0
    assert free_slots(board)[0] >= before[0] - 3  # the bells of its notices, and one ready for the next capability


def test_GEN05_what_is_no_plain_memory_upgrades_nothing(board: Board) -> None:
    alice, _ = board.serve()
    number = alice.open(board.lend().untyped, 1)
    before = free_slots(board)
    with pytest.raises(InvalidMessage, match="a pool is untyped memory, and this is ENDPOINT"):
        alice.upgrade(number, Untyped(board.machine.retype(ObjectType.ENDPOINT)))
    assert free_slots(board) == before
    assert alice.objects(number) == 1


def test_another_clients_session_is_out_of_reach(board: Board) -> None:
    alice, bob = board.serve()
    number = alice.open(board.lend().untyped, 1)
    for call in (bob.objects, bob.close, bob.fail):
        with pytest.raises(UnknownSession):
            call(number)
    assert alice.objects(number) == 1


def test_a_bug_of_the_servers_leaves_the_session(board: Board) -> None:
    alice, _ = board.serve()
    number = alice.open(board.lend().untyped, 1)
    with pytest.raises(RemoteError, match="a bug of the server's own"):
        alice.fail(number)
    assert alice.objects(number) == 1
    with pytest.raises(RemoteError, match="has 4 slots"):
        alice.grow(number, 10)
    assert alice.objects(number) == 1


def test_what_is_no_plain_memory_is_no_pool(board: Board) -> None:
    machine = board.machine
    endpoint = machine.retype(ObjectType.ENDPOINT)
    alice, _ = board.serve()
    device = next(
        slot
        for slot in range(InitialSlot.FIRST_FREE, 100)
        if caps.read(machine.slot(slot)).type == abi.CapType.UNTYPED and caps.read(machine.slot(slot)).is_device
    )
    before = free_slots(board)
    for slot, what in ((device, "device memory"), (endpoint, "ENDPOINT")):
        with pytest.raises(InvalidMessage, match=f"this is {what}"):
            alice.open(Untyped(slot), 1)
    assert free_slots(board)[0] >= before[0] - 1


def test_a_method_that_fails_loses_what_came_and_not_what_stands_there_now(board: Board) -> None:
    alice, _ = board.serve()
    with pytest.raises(RemoteError) as failed:
        alice.swap(board.lend().untyped)
    keeper = board.machine.slot(board.stores[0].cnode).object
    at = keeper + int(failed.value.message) * Slot.SIZE
    assert Slot(board.machine.ram, at).cap_type == abi.CapType.ENDPOINT


def test_a_chain_of_four_servers_is_paid_by_the_packet(board: Board) -> None:
    alice, _ = board.serve(4)
    with board.lend() as pool:
        for _ in range(5):
            assert alice.chain(pool.untyped, 3) == 4
            assert [len(keeper.sessions) for keeper in board.keepers] == [0] * 4
    with pytest.raises(NotEnoughMemory):
        alice.chain(board.lend(6).untyped, 3)
    assert [len(keeper.sessions) for keeper in board.keepers] == [0] * 4


@pytest.mark.parametrize("where", range(4))
def test_a_packet_destroyed_in_the_middle_frees_every_servers_state(board: Board, where: int) -> None:
    alice, _ = board.serve(4)
    before = free_slots(board)
    pool = board.lend()
    board.keepers[where].meanwhile = lambda: _revoke_as_root(board, pool)
    with pytest.raises(SessionEnded):
        alice.chain(pool.untyped, 3)
    board.keepers[where].meanwhile = None
    assert [len(keeper.sessions) for keeper in board.keepers] == [0] * 4
    assert all(now >= then - 1 for now, then in zip(free_slots(board), before, strict=True))
    assert alice.chain(pool.untyped, 3) == 4
