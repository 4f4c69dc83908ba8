"""The system of `python -m bench ipc` obeys every order: so the benchmark measures what it says."""

import pytest

from bench.ipc.placement import Placement
from bench.ipc.system import System

CLIENTS, PAIRS = 3, 2
SECONDS = 0.002


@pytest.fixture(scope="module")
def system():
    with System(CLIENTS, PAIRS) as running:
        yield running


@pytest.mark.parametrize("placement", Placement)
@pytest.mark.parametrize(
    ("server", "order"),
    [
        ("null", ("call", SECONDS)),
        ("null", ("calls", 10)),
        ("null", ("asleep", 3, 1000)),
        ("mirror", ("bytes", SECONDS, 0)),
        ("mirror", ("bytes", SECONDS, 960)),
        ("service", ("add", SECONDS)),
        ("service", ("object", SECONDS, "message")),
        ("service", ("object", SECONDS, "record")),
        ("waiter", ("signal", SECONDS, 64)),
    ],
)
def test_the_driver_measures(system, placement, server, order):
    system.place(placement, server)
    assert 0 < system.order(*order)["seconds"] < 1


@pytest.mark.parametrize(("clients", "server"), [(1, "own"), (PAIRS, "own"), (CLIENTS, "hub")])
def test_every_client_of_a_crowd_calls(system, clients, server):
    system.place_pairs(Placement.ONE)
    system.place_crowd(Placement.FREE)
    calls = system.order("load", clients, server, 0.2)["calls"]
    assert len(calls) == clients
    assert all(count > 0 for count in calls)


@pytest.mark.parametrize("server", ["lone", "hub"])
def test_a_revoked_client_is_refused_after_it_was_asked_for(system, server):
    seconds = system.order("revoke", 3, server)["seconds"]
    assert len(seconds) == 3
    assert all(0 < each < 10 for each in seconds)


def test_no_revoked_channel_answers(system):
    answer = system.order("revoke_many", CLIENTS, 10)
    assert (answer["channels"], answer["answered"]) == (CLIENTS * 10, 0)
