"""A server is told when nobody can send by a badge any more, and not before."""

from __future__ import annotations

import pytest

from libsel4py.abi import ObjectType, Rights
from libsel4py.capabilities import Endpoint
from libsel4py.senders import Senders
from libsel4py.server import Server
from libsel4py.task import Task
from libsel4py.testing import TestSystem


class Bench:
    """A server with one badge, and its clients' slots."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.server = Server(Endpoint(0), task)
        self.told: list[int] = []
        self.endpoint = Endpoint(task.memory.allocate(ObjectType.ENDPOINT).start)
        self.senders = Senders(task, self.endpoint, 7, self.told.append)

    def hand_out(self) -> int:
        """What an answer does: the client gets a copy."""
        return self.copy(self.senders.make().cptr)

    def copy(self, source: int) -> int:
        slot = self.task.slots.allocate()
        self.task.cnode.copy(slot, self.task.cnode, source, rights=Rights.WRITE)
        return slot

    def delete(self, *slots: int) -> None:
        for slot in slots:
            self.task.cnode.delete(slot)

    def look(self) -> list[int]:
        """The server takes its signals; what it was told."""
        badge = self.task.notification.poll()
        if badge:
            self.server.signalled(badge)
        told, self.told[:] = list(self.told), []
        return told


@pytest.fixture
def bench(fake: TestSystem) -> Bench:
    return Bench(fake.first_task)


def test_MACH12_the_last_senders_end_is_told_with_how_many_were_made(bench: Bench) -> None:
    first, second = bench.hand_out(), bench.hand_out()
    passed_on = bench.copy(second)
    for slot in (first, second):
        bench.delete(slot)
        assert bench.look() == []
    bench.delete(passed_on)
    assert bench.look() == [2]
    assert bench.look() == []


def test_MACH12_one_that_is_handed_out_meanwhile_suppresses_it(bench: Bench) -> None:
    """The kernel has told, and the server has not looked: it has answered somebody first."""
    bench.delete(bench.hand_out())
    later = bench.hand_out()
    assert bench.look() == []
    bench.delete(later)
    assert bench.look() == [2]
    last = bench.hand_out()
    assert bench.look() == []
    bench.delete(last)
    assert bench.look() == [3]


def test_who_is_handed_out_what_he_does_not_take_is_none(bench: Bench) -> None:
    bench.senders.make()
    assert bench.look() == [1]


def test_its_end_takes_all_back_and_tells_nobody(bench: Bench, fake: TestSystem) -> None:
    free = bench.task.memory.statistics().free_bytes
    again = Senders(bench.task, bench.endpoint, 8, bench.told.append)
    copy = bench.copy(again.make().cptr)
    again.end()
    assert bench.look() == []
    assert copy not in fake.kernel.objects.caps
    assert bench.task.memory.statistics().free_bytes == free
    assert len(bench.task.deaths) == 0
