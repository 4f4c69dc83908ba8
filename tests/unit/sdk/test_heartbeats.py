"""Heartbeats in virtual time: who is asked when, and who is found to be hung."""

from __future__ import annotations

from dataclasses import dataclass

from libsel4py.heartbeats import FOREVER, INIT_SECONDS, Heartbeats

PERIOD = 0.5


@dataclass
class Task:
    """Answers at once, until it hangs."""

    hangs: bool = False
    asked: int = 0
    said: bool = False

    def ask(self) -> None:
        self.asked += 1
        self.said = self.said or not self.hangs

    def answered(self) -> bool:
        said, self.said = self.said, False
        return said


def looks(heartbeats: Heartbeats, until: float) -> list[tuple[float, int]]:
    """Who is found to be hung, and when, up to that moment."""
    found = []
    while (now := heartbeats.next_due()) <= until:
        found += [(now, number) for number in heartbeats.look(now)]
    return found


def test_one_that_answers_is_asked_once_a_period_and_never_hung() -> None:
    task = Task()
    heartbeats = Heartbeats({7: (task, PERIOD)})
    assert heartbeats.next_due() == FOREVER
    heartbeats.begin(7, 100.0)
    assert looks(heartbeats, 110.0) == []
    assert task.asked == 21


def test_two_that_are_missed_are_a_hung_task() -> None:
    task = Task()
    heartbeats = Heartbeats({7: (task, PERIOD)})
    heartbeats.begin(7, 100.0)
    assert looks(heartbeats, 101.0) == []
    task.hangs = True
    task.said = False
    assert looks(heartbeats, 200.0) == [(102.0, 7)]
    assert heartbeats.next_due() == FOREVER


def test_one_that_is_late_once_is_not() -> None:
    task = Task()
    heartbeats = Heartbeats({7: (task, PERIOD)})
    heartbeats.begin(7, 100.0)
    heartbeats.look(100.5)
    task.said = False
    heartbeats.look(101.0)
    assert heartbeats.misses(7) == 1
    task.said = True
    assert heartbeats.look(101.5) == []
    assert heartbeats.misses(7) == 0


def test_a_life_that_begins_has_longer() -> None:
    task = Task(hangs=True)
    heartbeats = Heartbeats({7: (task, PERIOD)})
    heartbeats.begin(7, 100.0)
    assert looks(heartbeats, 200.0) == [(100.0 + INIT_SECONDS, 7)]
    assert task.asked == 1


def test_how_much_longer_may_be_said() -> None:
    for first, found in ((2.0, 102.0), (0.1, 101.0)):
        heartbeats = Heartbeats({7: (Task(hangs=True), PERIOD)}, {7: first})
        heartbeats.begin(7, 100.0)
        assert looks(heartbeats, 200.0) == [(found, 7)]


def test_whoever_asks_anew_gives_a_hung_one_no_more_time() -> None:
    task = Task(hangs=True)
    heartbeats = Heartbeats({7: (task, PERIOD)})
    heartbeats.begin(7, 100.0, started=40.0)
    assert looks(heartbeats, 200.0) == [(101.0, 7)]
    heartbeats.begin(7, 100.0, started=97.0)
    assert looks(heartbeats, 200.0) == [(97.0 + INIT_SECONDS, 7)]


def test_what_its_former_life_had_said_is_not_its_own() -> None:
    task = Task(hangs=True, said=True)
    heartbeats = Heartbeats({7: (task, PERIOD)})
    heartbeats.begin(7, 100.0)
    heartbeats.look(100.5)
    assert heartbeats.misses(7) == 1


def test_one_that_does_not_run_is_not_asked() -> None:
    task = Task()
    heartbeats = Heartbeats({7: (task, PERIOD)})
    heartbeats.begin(7, 100.0)
    heartbeats.end(7)
    assert heartbeats.next_due() == FOREVER
    heartbeats.begin(8, 100.0)  # one that has no heartbeats
    assert heartbeats.next_due() == FOREVER


def test_each_life_is_known_to_serve_by_its_own_first_answer() -> None:
    task = Task()
    heartbeats = Heartbeats({7: (task, PERIOD)})
    heartbeats.begin(7, 100.0)
    assert not heartbeats.has_answered(7)  # nobody has looked
    heartbeats.look(100.0 + PERIOD)
    assert heartbeats.has_answered(7)
    task.hangs = True
    task.said = True  # what the former life has said
    heartbeats.begin(7, 101.0)
    assert looks(heartbeats, 105.0) == []
    assert not heartbeats.has_answered(7)
    assert not heartbeats.has_answered(8)
