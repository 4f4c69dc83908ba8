"""Who complains, asks and decides without end costs root what really happens, and nothing for each call: root, which
starts others again meanwhile, does not hear of the flood."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from libsel4py.description import Group, Restart, Strategy
from libsel4py.interfaces.complaints import Complaints, Ruling, Verdict
from libsel4py.interfaces.lifecycle import Allowed, Change, Lifecycle, Order, OrderKind, Standing, Stop, TaskRecord
from libsel4py.interfaces.recovery import Decision, Recovery
from libsel4py.signature import Word
from libsel4py.testing import connect
from servers.reincarnation import policy
from servers.reincarnation.main import Main

FLOOD = 1000
LIAR, CLIENT = 1, 2
RECORDS = [
    TaskRecord(LIAR, "liar", "g", Restart.ALWAYS, Standing.RUNNING, runs=True),
    TaskRecord(CLIENT, "test", "", Restart.ALWAYS, Standing.RUNNING, runs=True, complains_of=(LIAR,)),
]


class Root(Lifecycle):
    """A root that counts how often it is called, and whose tasks begin anew when it is told so."""

    def __init__(self, records: list[TaskRecord], recovery: str = "") -> None:
        self.records, self.recovery = records, recovery
        self.calls: Counter[str] = Counter()
        self.waiting: list[Order] = []
        self.number = 1

    def restart_ahead(self) -> None:
        """It starts the liar again by itself, as it was allowed to."""
        self.number += 1
        self.waiting.append(Order(len(self.waiting) + 1, OrderKind.RESTARTED, LIAR, 1, "failed", at=1.0))

    def tasks(self) -> list[TaskRecord]:
        self.calls["tasks"] += 1
        return self.records

    def groups(self) -> list[Group]:
        return [Group("g", ("liar",), Strategy.ONE_FOR_ONE, intensity=10, recovery=self.recovery)]

    def change(self, change: Change) -> None:
        self.calls["change"] += 1
        self.number += LIAR in change.starts

    def life(self, task: int) -> int:
        self.calls["life"] += 1
        return self.number

    def came_up(self, task: int) -> None:
        raise AssertionError("nothing is updated")

    def ask_to_stop(self, task: int, stop: Stop) -> None:
        raise AssertionError("nothing is stopped")

    def orders(self, done: int) -> list[Order]:
        self.calls["orders"] += 1
        return [each for each in self.waiting if each.serial > done]

    def allow(self, done: int, allowed: list[Allowed], more: bool = False) -> bool:
        self.calls["allow"] += 1
        return not [each for each in self.waiting if each.serial > done]

    def end_system(self, task: int, status: int, why: str) -> None:
        raise AssertionError(why)


@pytest.fixture
def root() -> Root:
    return Root(RECORDS)


def test_a_flood_of_complaints_asks_root_for_what_has_happened_and_no_more(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "LEAST_LIFE_S", 3600.0)  # a busy host takes a second for the flood
    with connect(Main, uses={"lifecycle": root}, interface=Complaints, client="test") as complaints:
        life = complaints.life("liar")
        ended = complaints.complain("liar", life, "it lies")
        assert ended == Ruling(Verdict.ENDED, 2)
        root.calls.clear()
        for _ in range(FLOOD):  # of a life that is over, of the one that is let alone, of one that nobody was told of
            assert complaints.complain("liar", life, "it lies") == Ruling(Verdict.LATE, 2)
            assert complaints.complain("liar", Word(ended.life), "it lies") == Ruling(Verdict.TOO_OFTEN, 2)
            assert complaints.complain("liar", Word(1 << 60), "it lies") == Ruling(Verdict.LATE, 2)
            assert complaints.life("liar") == 2
        assert root.calls.total() == 0


def test_a_flood_of_complaints_of_a_life_that_is_over_asks_root_once_a_life(root: Root) -> None:
    """Root has started the liar again and not told yet: whoever complains of the life before cannot make more of it."""
    with connect(Main, uses={"lifecycle": root}, interface=Complaints, client="test") as complaints:
        life = complaints.life("liar")
        root.restart_ahead()
        root.calls.clear()
        for _ in range(FLOOD):
            assert complaints.complain("liar", life, "it lies") == Ruling(Verdict.LATE, 2)
        assert root.calls["life"] == 1
        assert root.calls["change"] == 0
        assert root.calls.total() < 10
        assert complaints.complain("liar", Word(2), "it lies") == Ruling(Verdict.ENDED, 3)


def test_a_flood_of_decisions_that_nobody_waits_for_asks_root_nothing() -> None:
    root = Root([replace(RECORDS[0], runs=False), RECORDS[1]], recovery="test")
    root.waiting = [Order(1, OrderKind.FAILED, LIAR, 1, "ended with status 3")]
    with connect(Main, uses={"lifecycle": root}, interface=Recovery, client="test") as recovery:
        case = recovery.next_case(Word(0))
        assert (case.component, case.reason) == ("liar", "ended with status 3")
        assert recovery.decide(Word(case.serial), Decision.RESTART)
        root.calls.clear()
        for serial in range(case.serial, case.serial + FLOOD):
            assert not recovery.decide(Word(serial), Decision.RESTART_GROUP)
        assert root.calls.total() == 0
