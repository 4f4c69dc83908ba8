"""A process that may be ending is looked at again after a moment, and not for ever."""

from __future__ import annotations

import select

from kerneld.host.second_looks import GAP_US, MOST, SecondLooks
from tests.unit.host.table import Timers


class Watched:
    """Who looks, and asks for another look each time."""

    def __init__(self) -> None:
        self.looks: list[int] = []
        self.timers = Timers()
        self.second = SecondLooks(self.timers, self.look)  # type: ignore[arg-type]

    def look(self, number: int) -> None:
        self.looks.append(number)
        self.second.ask(number)

    def rings(self) -> bool:
        """Wait for the timer, if it is set; whether it was."""
        assert self.timers.descriptor >= 0
        rang = bool(select.select([self.timers.descriptor], [], [], 100 * GAP_US / 1e6)[0])
        if rang:
            self.timers.readable()
        return rang


def test_it_is_looked_at_a_bounded_number_of_times() -> None:
    watched = Watched()
    watched.second.ask(7)
    assert watched.looks == []
    while watched.rings():
        assert len(watched.looks) <= MOST
    assert watched.looks == [7] * MOST
    watched.second.close()


def test_one_that_is_forgotten_is_looked_at_no_more_and_can_come_again() -> None:
    watched = Watched()
    for number in (1, 2):
        watched.second.ask(number)
    assert watched.rings()
    assert watched.looks == [1, 2]
    watched.second.forget(1)
    assert watched.rings()
    assert watched.looks == [1, 2, 2]
    watched.second.forget(2)
    assert watched.rings()  # it was set, and finds nobody
    assert not watched.rings()
    watched.second.ask(1)
    assert watched.rings()
    assert watched.looks == [1, 2, 2, 1]
    watched.second.close()
    watched.second.close()
