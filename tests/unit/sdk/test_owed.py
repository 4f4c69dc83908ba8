"""Who is owed how many replies by a server that sets no bound of its own."""

from __future__ import annotations

import pytest

from libsel4py.errors import TooManyDeferred
from libsel4py.owed import Owed

MOST = 64


def shared(*known: str) -> Owed:
    return Owed(MOST, lambda: known)


def fill(owed: Owed, *clients: str) -> list[int]:
    """Let them call in turn until each of them is refused; how many each is owed then."""
    left = list(clients)
    while left:
        for client in tuple(left):
            try:
                owed.add(client)
            except TooManyDeferred:
                left.remove(client)
    return [owed.count(client) for client in clients]


@pytest.mark.parametrize(("greedy", "each"), [(1, 32), (2, 21), (3, 16), (7, 8)])
def test_those_who_take_all_that_they_get_leave_as_much_to_the_next(greedy: int, each: int) -> None:
    owed = shared("honest", *map(str, range(greedy)))
    had = fill(owed, *map(str, range(greedy)))
    assert all(each <= count <= each + 1 for count in had)
    for _ in range(each // 2):
        owed.add("honest")


def test_who_is_owed_none_gets_one_as_long_as_there_is_any() -> None:
    owed = shared()
    for client in map(str, range(MOST)):
        owed.add(client)
    with pytest.raises(TooManyDeferred, match="64 calls wait"):
        owed.add("honest")
    owed.remove("7")
    owed.add("honest")
    assert (owed.count(), owed.count("7"), owed.count("honest")) == (MOST, 0, 1)


def test_an_only_client_has_all() -> None:
    assert fill(shared("alone"), "alone") == [MOST]
    assert fill(shared("alone"), "another") == [MOST // 2]


def test_a_share_is_full_until_one_is_answered() -> None:
    owed = shared("a", "b")
    fill(owed, "a")
    with pytest.raises(
        TooManyDeferred, match="32 calls of a wait for their replies already, and 32 are left to others"
    ):
        owed.add("a")
    owed.remove("a")
    owed.add("a")


def test_a_server_that_bounds_its_clients_itself_has_no_shares() -> None:
    owed = shared("a", "b")
    owed.allow(10)
    assert fill(owed, "a") == [10]
