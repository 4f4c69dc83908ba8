"""Activities: what one client has this server keep leaves enough for the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from libsel4py import NotEnoughMemory, Untyped
from libsel4py.abi import ObjectType
from libsel4py.interfaces.activity import Activities, Activity, ActivityGone
from libsel4py.signature import Word
from libsel4py.task import Task
from libsel4py.testing import connect
from servers.activities.main import MOST_ACTIVITIES, MOST_PARTS, MOST_SLOTS, Main


class Scene:
    """The server, with a client whose slots and memory are its own."""

    def __init__(self, main: Main, activities: Activities) -> None:
        self.main, self.activities = main, activities

    @property
    def task(self) -> Task:
        return self.main.task

    def open(self, size_bits: int) -> Activity:
        return Activity(self.activities.open(self.pool(size_bits)))

    def pool(self, size_bits: int) -> Untyped:
        return Untyped(self.task.memory.allocate(ObjectType.UNTYPED, size_bits).start)


@pytest.fixture
def scene() -> Iterator[Scene]:
    main = Main()
    with connect(main, interface=Activities) as activities:
        yield Scene(main, activities)


@pytest.mark.parametrize(("size_bits", "pools"), [(8, MOST_ACTIVITIES), (14, MOST_ACTIVITIES), (10, 1)])
def test_one_client_has_the_server_use_so_many_slots_and_no_more(scene: Scene, size_bits: int, pools: int) -> None:
    """Small pieces of many pools, in which each halving takes two; and of one pool, of which there are so many."""
    opened = [scene.open(size_bits) for _ in range(pools)]
    made = 0
    for each in opened:
        with suppress(NotEnoughMemory):
            while made < 1000:
                each.memory(4)
                made += 1
    used = sum(each.bank.slots for each in scene.main._roots())
    assert used <= MOST_SLOTS
    assert made >= (MOST_PARTS if pools == 1 or size_bits == 8 else MOST_SLOTS // 32)
    for each in opened:
        each.destroy()
    assert scene.main._by_badge == {}
    assert scene.open(size_bits).memory(4).cptr


def test_parts_whose_pool_was_taken_back_are_gone_with_it(scene: Scene) -> None:
    pool = scene.pool(12)
    whole = Activity(scene.activities.open(pool))
    part = Activity(whole.child(Word(1 << 12)))
    part.memory(6)
    deeper = Activity(part.child(Word(1 << 12)))
    deeper.memory(6)
    scene.task.cnode.revoke(pool.cptr)
    with pytest.raises(ActivityGone):
        deeper.memory(6)
    for gone in (whole, part, deeper):
        with pytest.raises(ActivityGone):
            gone.usage()
    assert scene.main._by_badge == {}
