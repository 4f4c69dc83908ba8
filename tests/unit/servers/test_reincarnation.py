"""The reincarnation server on a root that keeps what it is told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from libsel4py.description import Group, Restart, Strategy
from libsel4py.interfaces.lifecycle import (
    Allowed,
    Change,
    Lifecycle,
    Order,
    OrderKind,
    Standing,
    Stop,
    TaskRecord,
    whole,
)
from libsel4py.interfaces.supervision import Supervision
from libsel4py.testing import connect
from servers.reincarnation.main import Main

MOST_TASKS = 550
DEAD = TaskRecord(1, "one", "all", Restart.ALWAYS, Standing.RUNNING, runs=False, started_at=1.0, image="former")


class Root(Lifecycle):
    """Tasks in one group that end together, and orders that a former life of the server has not seen to."""

    def __init__(self, records: list[TaskRecord], *orders: Order) -> None:
        self.records, self.waiting, self.changes = records, list(orders), list[Change]()
        self.parts: list[Change] = []
        self.allowed: list[int] = []

    def tasks(self) -> list[TaskRecord]:
        return self.records

    def groups(self) -> list[Group]:
        return [Group("all", tuple(each.name for each in self.records), Strategy.ONE_FOR_ALL)]

    def part(self, change: Change) -> None:
        self.parts.append(change)

    def change(self, change: Change) -> None:
        self.changes.append(whole([*self.parts, change]))
        self.parts.clear()

    def life(self, task: int) -> int:
        return 1

    def came_up(self, task: int) -> None:
        raise AssertionError("nothing has answered")

    def ask_to_stop(self, task: int, stop: Stop) -> None:
        raise AssertionError("it does not serve")

    def orders(self, done: int) -> list[Order]:
        self.waiting = [each for each in self.waiting if each.serial > done]
        return self.waiting

    def allow(self, done: int, allowed: list[Allowed], more: bool = False) -> bool:
        self.allowed = [*(self.allowed if more else ()), *(each.task for each in allowed)]
        return not self.orders(done)

    def end_system(self, task: int, status: int, why: str) -> None:
        raise AssertionError(why)


class Apart(Root):
    """Each task is a group by itself."""

    def groups(self) -> list[Group]:
        return []


@pytest.mark.parametrize(("kind", "image"), [(OrderKind.RESTART, ""), (OrderKind.UPDATE, "next")])
def test_a_task_that_an_order_has_started_has_not_ended(kind: OrderKind, image: str) -> None:
    """It had, when this life of the server looked first: the next one is no failure, and no update that did not come
    up."""
    root = Root([DEAD], Order(1, kind, 1, text=image))
    with connect(Main, uses={"lifecycle": root}, interface=Supervision):
        (change,) = root.changes
    assert (change.starts, change.image) == ((1,), image)


def test_a_group_that_has_ended_while_nobody_looked_is_started_once() -> None:
    root = Root([DEAD, replace(DEAD, number=2, name="two")])
    with connect(Main, uses={"lifecycle": root}, interface=Supervision):
        (change,) = root.changes
    assert change.starts == (1, 2)
    assert change.cause is not None
    assert change.cause.failures == 1


def test_as_many_tasks_as_a_system_can_have_are_supervised() -> None:
    """What is told of all of them takes more than a message."""
    alone = [
        TaskRecord(each, f"task{each}", "", Restart.ALWAYS, Standing.RUNNING, runs=True) for each in range(MOST_TASKS)
    ]
    root: Root = Apart(alone)
    with connect(Main, uses={"lifecycle": root}, interface=Supervision):
        assert root.allowed == list(range(MOST_TASKS))
    root = Root([replace(each, group="all", runs=each.number > 0) for each in alone])
    with connect(Main, uses={"lifecycle": root}, interface=Supervision):
        (change,) = root.changes
    assert (change.ends, change.starts) == (tuple(range(MOST_TASKS - 1, -1, -1)), tuple(range(MOST_TASKS)))
