"""Space banks, on the pure kernel: limits, keepers, and that everything comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from libsel4py import InvalidMessage, NotEnoughMemory, Untyped, banks
from libsel4py.abi import InitialSlot, ObjectType
from libsel4py.banks import BankDestroyed, SpaceBank
from libsel4py.capabilities import SchedContext, SchedControl
from libsel4py.environment import Environment
from libsel4py.errors import KernelError
from libsel4py.interfaces.space_keeper import SpaceKeeper
from libsel4py.lending import LentPool, lend
from libsel4py.lowlevel.identify import identify
from libsel4py.task import Task, as_task
from tests.harness import Machine
from tests.unit.sdk.kernel_cpu import bench

FRAME, ENDPOINT = ObjectType.FRAME, ObjectType.ENDPOINT
SLOTS, MOST = 400, 4


class Lender(SpaceKeeper):
    """Lends so many times, and then refuses. It keeps what it lends of, so that it can take it back."""

    def __init__(self, task: Task, times: int) -> None:
        self._task, self._times = task, times
        self.lent: list[LentPool] = []
        self.asked: list[int] = []

    def more(self, size_bits: int) -> Untyped:
        self.asked.append(size_bits)
        if len(self.asked) > self._times:
            raise NotEnoughMemory(0)
        self.lent.append(lend(self._task, size_bits))
        slot = self._task.slots.allocate()  # as it would come by a message: a capability of the bank's own
        self._task.cnode.copy(slot, self._task.cnode, self.lent[-1].untyped.cptr)
        return Untyped(slot)


@pytest.fixture
def task() -> Iterator[Task]:
    machine = Machine()
    with bench(machine):
        made = Task(Environment("root", first_free_slot=machine.new_slots(SLOTS), free_slots=SLOTS))
        made.memory.add(Untyped(machine.retype(ObjectType.UNTYPED, 20)), 20)
        with as_task(made):
            yield made


@pytest.fixture
def unchanged(task: Task) -> Iterator[Callable[[], None]]:
    """Whatever was bought, all memory and all slots are there again at the end."""
    before = task.memory.statistics(), task.slots.free_count
    yield lambda: None
    assert (task.memory.statistics(), task.slots.free_count) == before


def test_KK04_a_bank_sells_what_it_has_and_no_more(task: Task, unchanged: None) -> None:
    with SpaceBank.open(task, 14) as bank:
        frames = [bank.buy(FRAME, 12).start for _ in range(4)]
        with pytest.raises(NotEnoughMemory):
            bank.buy(FRAME, 12)
        assert bank.statistics().free_bytes == 0
        bank.sell(frames[1])
        with pytest.raises(ValueError, match="has it back"):
            bank.sell(frames[1])
        assert bank.buy(ENDPOINT, 0, 3).stop
    with pytest.raises(BankDestroyed):
        bank.buy(ENDPOINT)
    bank.destroy()


def test_KK04_a_destroyed_bank_rescinds_what_it_and_its_sub_banks_have_sold(task: Task, unchanged: None) -> None:
    bank = SpaceBank.open(task, 15)
    part = bank.sub_bank(14)
    below = part.sub_bank(12)
    copy = task.slots.allocate()
    task.cnode.copy(copy, task.cnode, below.buy(FRAME, 12).start)
    with pytest.raises(NotEnoughMemory):
        below.buy(ENDPOINT)  # its own limit, within one that has room
    assert part.buy(ENDPOINT)
    bank.destroy()
    assert identify(copy).type == "NULL"
    task.slots.free(copy)
    for each in (below, part, bank):
        with pytest.raises(BankDestroyed):
            each.buy(ENDPOINT)
        each.destroy()


def test_KK04_a_sub_bank_that_is_destroyed_gives_its_memory_to_the_bank_above(task: Task, unchanged: None) -> None:
    with SpaceBank.open(task, 14) as bank:
        for _ in range(3):
            with bank.sub_bank(14) as part:
                part.buy(FRAME, 13)
        assert bank.buy(FRAME, 14)


def test_KK04_at_the_limit_the_keeper_lends_and_the_purchase_goes_on_or_it_refuses(task: Task, unchanged: None) -> None:
    keeper = Lender(task, 2)
    with SpaceBank.open(task, 12, keeper) as bank:
        bank.buy(FRAME, 12)
        assert keeper.asked == []
        large = bank.buy(FRAME, 13, 2).start
        bank.buy(ENDPOINT)
        assert keeper.asked == [14, 5]
        with pytest.raises(NotEnoughMemory):
            bank.buy(FRAME, 12)
        assert keeper.asked == [14, 5, 12]
        bank.sell(large)
        assert bank.buy(FRAME, 14)  # nobody is asked for what is there
    assert len(keeper.asked) == 3
    for pool in keeper.lent:
        assert lend_again(task, pool)
        pool.free()


def lend_again(task: Task, pool: LentPool) -> bool:
    """Whether the pool has no children: only then it can be copied."""
    slot = task.slots.allocate()
    task.cnode.copy(slot, task.cnode, pool.untyped.cptr)
    task.cnode.delete(slot)
    task.slots.free(slot)
    return True


def test_KK04_what_the_keeper_takes_back_is_gone_and_the_bank_goes_on(task: Task, unchanged: None) -> None:
    keeper = Lender(task, 2)
    with SpaceBank.open(task, 13, keeper) as bank:
        own, lent = bank.buy(FRAME, 13).start, bank.buy(FRAME, 12).start
        keeper.lent[0].take_back()
        assert identify(lent).type == "NULL"
        assert identify(own).type == "FRAME"
        again = bank.buy(FRAME, 12).start
        assert again != lent  # its slot is nobody else's before it is sold back
        assert keeper.asked == [12, 12]
        bank.sell(lent)
        bank.sell(own)
        assert bank.buy(FRAME, 12)
    for pool in keeper.lent:
        pool.free()


def test_KK04_a_bank_whose_memory_was_taken_back_is_destroyed(task: Task, unchanged: None) -> None:
    pool, keeper = lend(task, 14), Lender(task, 1)
    slot = task.slots.allocate()
    task.cnode.copy(slot, task.cnode, pool.untyped.cptr)
    bank = SpaceBank(task, Untyped(slot), keeper)
    bank.buy(FRAME, 12)
    part = bank.sub_bank(12)
    pool.take_back()
    for each in (part, bank):
        with pytest.raises(BankDestroyed):
            each.buy(ENDPOINT)
    assert keeper.asked == []  # it is no matter of limits
    bank.destroy()
    pool.free()


@pytest.mark.parametrize("what", ["too small", "no memory"])
def test_KK04_what_a_keeper_lends_is_looked_at(task: Task, unchanged: None, what: str) -> None:
    kept: list[int] = []

    class Liar(SpaceKeeper):
        def more(self, size_bits: int) -> Untyped:
            kind, bits = (ObjectType.UNTYPED, size_bits - 1) if what == "too small" else (ENDPOINT, 0)
            kept.append(task.memory.allocate(kind, bits).start)
            slot = task.slots.allocate()
            task.cnode.copy(slot, task.cnode, kept[-1])
            return Untyped(slot)

    with SpaceBank.open(task, 12, Liar()) as bank, pytest.raises(InvalidMessage, match="a bank's memory is untyped"):
        bank.buy(FRAME, 13)
    task.memory.free(kept[0])


def test_KK04_a_bank_is_lent_so_many_parts_and_no_more(
    task: Task, unchanged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(banks, "MOST_PARTS", MOST)
    keeper = Lender(task, SLOTS)
    with SpaceBank.open(task, 12, keeper) as bank:
        for _ in range(MOST):
            bank.buy(FRAME, 12)
        with pytest.raises(NotEnoughMemory):
            bank.buy(FRAME, 12)
        assert len(keeper.asked) == MOST - 1
    for pool in keeper.lent:
        pool.free()


def test_KK05_who_draws_can_neither_refill_nor_keep_the_memory(task: Task, unchanged: None) -> None:
    pool = lend(task, 13)
    slot = task.slots.allocate()
    task.cnode.copy(slot, task.cnode, pool.untyped.cptr)
    bank = SpaceBank(task, Untyped(slot))
    frame = bank.buy(FRAME, 12).start
    task.cnode.revoke(slot)  # by the key to draw: what was drawn goes, and nothing of the lender's
    assert (identify(frame).type, identify(pool.untyped.cptr).type) == ("NULL", "UNTYPED")
    bank.sell(frame)
    bank.buy(FRAME, 13)
    with pytest.raises(NotEnoughMemory):
        bank.buy(ENDPOINT)
    pool.take_back()
    assert (identify(slot).type, identify(pool.untyped.cptr).type) == ("NULL", "UNTYPED")
    bank.destroy()
    pool.free()


def test_KK05_a_budget_is_given_by_sched_control_alone(task: Task, unchanged: None) -> None:
    context = SchedContext(task.memory.allocate(ObjectType.SCHED_CONTEXT, 8).start)
    with pytest.raises(KernelError):
        SchedControl(context.cptr).configure_flags(context, 1000, 1000)
    SchedControl(InitialSlot.FIRST_FREE).configure_flags(context, 1000, 1000)  # who has that can
    task.memory.free(context.cptr)
