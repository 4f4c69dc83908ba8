"""The reincarnation server on a root that keeps what it is told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from libsel4py.description import Group, Restart, Strategy
from libsel4py.interfaces.lifecycle import Allowed, Change, Lifecycle, Order, OrderKind, Standing, Stop, TaskRecord
from libsel4py.interfaces.supervision import Supervision
from libsel4py.testing import connect
from servers.reincarnation.main import Main

DEAD = TaskRecord(1, "one", "all", Restart.ALWAYS, Standing.RUNNING, runs=False, started_at=1.0, image="former")


class Root(Lifecycle):
    """Tasks in one group that end together, and orders that a former life of the server has not seen to."""

    def __init__(self, records: list[TaskRecord], *orders: Order) -> None:
        self.records, self.waiting, self.changes = records, list(orders), list[Change]()

    def tasks(self) -> list[TaskRecord]:
        return self.records

    def groups(self) -> list[Group]:
        return [Group("all", tuple(each.name for each in self.records), Strategy.ONE_FOR_ALL)]

    def change(self, change: Change) -> None:
        self.changes.append(change)

    def life(self, task: int) -> int:
        return 1

    def came_up(self, task: int) -> None:
        raise AssertionError("nothing has answered")

    def ask_to_stop(self, task: int, stop: Stop) -> None:
        raise AssertionError("it does not serve")

    def orders(self, done: int) -> list[Order]:
        self.waiting = [each for each in self.waiting if each.serial > done]
        return self.waiting

    def allow(self, done: int, allowed: list[Allowed]) -> bool:
        return not self.orders(done)

    def end_system(self, task: int, status: int, why: str) -> None:
        raise AssertionError(why)


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
