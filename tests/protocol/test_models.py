"""The channel's protocol and the order of mappings, checked by Spin: every interleaving within the bounds given here.

docs/manual/channel_protocol.md and docs/manual/faults.md say what is shown and what is not. `make protocol` runs the
quick ones and prints what was explored, `make protocol ARGS='-m slow'` the larger bounds. A model that finds no planted
bug shows nothing: each mutant must yield an error trail.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from libsel4py import abi
from tests.protocol import verifier
from tests.protocol.verifier import Question, Search


@pytest.fixture(autouse=True)
def _spin(request: pytest.FixtureRequest) -> None:
    if "search" in request.node.keywords and not verifier.installed():
        if os.environ.get("REQUIRE_SPIN"):
            pytest.fail("REQUIRE_SPIN is set, and spin or gcc is not installed")
        pytest.skip("spin (apt-get install spin) or gcc is not installed: the protocol's models are not checked")


# One axis large and the others small: all of them large at once is beyond any machine's memory.
CHANNEL_RACE = {"CALLS": 1, "FATES": 1, "RIVAL": 1, "SUCCESSION": 0, "TOLD_TWICE": 0}
CHANNEL_SUCCESSION = {"CALLS": 2, "FATES": 1, "RIVAL": 0, "SUCCESSION": 1, "TOLD_TWICE": 1}
CHANNEL_RIVALS = {"CALLS": 2, "FATES": 0, "RIVAL": 1, "SUCCESSION": 0, "TOLD_TWICE": 0}
# Numbers that come round, and servers that are not 65,535 calls late.
CHANNEL_ROUND = {"CALLS": 3, "FATES": 0, "RIVAL": 0, "SUCCESSION": 1, "SEQUENCES": 2, "PROMPT": 1}
CHANNEL_SMALL = {"CALLS": 1, "FATES": 1, "RIVAL": 0, "SUCCESSION": 1, "TOLD_TWICE": 1}
RECEIVE_NONE = {"CALLERS": 1, "SENDS": 0, "SIGNALS": 0, "THEFTS": 0, "WITHDRAWALS": 0, "TIME_OUTS": 0, "REVOCATIONS": 0}
RECEIVE_CHANNELS = RECEIVE_NONE | {"CALLERS": 2, "SENDS": 1, "WITHDRAWALS": 1}
RECEIVE_KERNEL = RECEIVE_NONE | {"SENDS": 2, "SIGNALS": 1, "THEFTS": 1}
RECEIVE_TIME_OUT = RECEIVE_NONE | {"SENDS": 1, "SIGNALS": 2, "TIME_OUTS": 1}
RECEIVE_REVOKED = RECEIVE_NONE | {"SENDS": 1, "SIGNALS": 0, "REVOCATIONS": 1, "TIME_OUTS": 1}
MAPPINGS_ONE = {"THREADS": 1, "PAGES": 2, "ACCESSES": 2, "UNMAPS": 1, "AHEAD": 0, "DEATHS": 0, "RESTARTS": 1}
MAPPINGS_TWO = MAPPINGS_ONE | {"THREADS": 2, "PAGES": 1, "ACCESSES": 1, "DEATHS": 1, "RESTARTS": 0}
MAPPINGS_RESTARTED = MAPPINGS_TWO | {"DEATHS": 0, "RESTARTS": 1, "WAITS": 0}
MAPPINGS_BESIDE = MAPPINGS_TWO | {"PAGES": 2, "UNMAPS": 0, "DEATHS": 0, "RESTARTS": 1}
MAPPINGS_AHEAD = MAPPINGS_ONE | {"PAGES": 6, "ACCESSES": 1, "UNMAPS": 0, "AHEAD": 5, "RESTARTS": 0}
MAPPINGS_AGAIN = MAPPINGS_ONE | {"UNMAPS": 2}

QUICK = [
    Question("channel", CHANNEL_RACE),
    Question("channel", CHANNEL_SUCCESSION),
    Question("channel", CHANNEL_RIVALS),
    Question("channel", CHANNEL_ROUND),
    Question("channel", CHANNEL_SMALL | {"TOLD_TWICE": 0}, liveness=True),
    Question("receive", RECEIVE_CHANNELS),
    Question("receive", RECEIVE_KERNEL),
    Question("receive", RECEIVE_TIME_OUT),
    Question("receive", RECEIVE_REVOKED),
    Question("mappings", MAPPINGS_ONE),
    Question("mappings", MAPPINGS_TWO),
    Question("mappings", MAPPINGS_RESTARTED),
    Question("mappings", MAPPINGS_BESIDE),
    Question("mappings", MAPPINGS_AHEAD),
    Question("mappings", MAPPINGS_AGAIN),
    Question("mappings", MAPPINGS_ONE | {"ACCESSES": 1}, liveness=True),
]
SLOW = [
    Question("channel", CHANNEL_RACE | {"CALLS": 2}),
    Question("channel", CHANNEL_SUCCESSION | {"CALLS": 1, "FATES": 2, "TOLD_TWICE": 0}),
    Question("channel", CHANNEL_SUCCESSION | {"CALLS": 1, "RIVAL": 1, "TOLD_TWICE": 0}),
    Question("receive", RECEIVE_CHANNELS | {"REVOCATIONS": 1}),
    Question("receive", RECEIVE_KERNEL | {"WITHDRAWALS": 1, "TIME_OUTS": 1}),
    Question("mappings", MAPPINGS_AGAIN | {"ACCESSES": 1, "RESTARTS": 2}),
    Question("mappings", MAPPINGS_TWO | {"PAGES": 2, "DEATHS": 0}),
    Question("mappings", MAPPINGS_TWO | {"DEATHS": 0}, liveness=True),
]

CHANNEL_MUTANTS = {
    "UNANNOUNCED": CHANNEL_SMALL,
    "NO_SECOND_LOOK": CHANNEL_SMALL,
    "SLEEPERS_SEEN_BEFORE_POST": CHANNEL_SMALL,
    "SLEEPERS_CLEARED_AFTER_WAKE": CHANNEL_SUCCESSION,
    "SLEEPERS_NOT_COUNTED": CHANNEL_RACE,
    "SLEPT_ON_POSTED": CHANNEL_SUCCESSION,
    "WAITER_STORED": CHANNEL_SMALL,
    "DONE_STORED": CHANNEL_SMALL,
    "DONE_FIRST": CHANNEL_SMALL,
    "POSTED_SEEN_FIRST": CHANNEL_RIVALS,
    "TAKEN_STORED": CHANNEL_RACE,
    "TAKEN_WITHOUT_SEQUENCE": CHANNEL_SMALL,
    "WAKE_ONE": CHANNEL_RACE,
    "WITHDRAWN_BY_STORE": CHANNEL_RACE,
    "WITHDRAWN_DONE_FIRST": CHANNEL_SMALL,
    "WITHDRAWN_DONE_LEFT": CHANNEL_ROUND,
    "WITHDRAWN_USED_AGAIN": CHANNEL_SUCCESSION,
    "ABANDONED_REUSED": CHANNEL_SUCCESSION,
    "ANY_LISTENER": CHANNEL_SUCCESSION,
    "STATE_BEFORE_DONE": CHANNEL_SUCCESSION,
    "ANSWERED_NOT_WOKEN": CHANNEL_SMALL,
    "STOPPED_WITH_PAGE": CHANNEL_SMALL,
    "REQUEST_UNCHECKED": CHANNEL_SMALL,
    "REPLY_UNCHECKED": CHANNEL_SMALL,
    "CLOSED_BY_FUTEX": CHANNEL_SMALL,
    "CLOSED_UNTOLD": CHANNEL_SMALL,
}
RECEIVE_MUTANTS = {
    "UNANNOUNCED": RECEIVE_CHANNELS,
    "NO_SECOND_LOOK": RECEIVE_CHANNELS,
    "SLEEPERS_SEEN_BEFORE_POST": RECEIVE_CHANNELS,
    "SLEEPERS_NOT_COMPARED": RECEIVE_CHANNELS,
    "SLEEPERS_LEFT": RECEIVE_CHANNELS,
    "SLEEPERS_CLEARED_AFTER_WAKE": RECEIVE_TIME_OUT,
    "NO_HINT": RECEIVE_KERNEL,
    "HINT_SEEN_LATE": RECEIVE_KERNEL,
    "HINT_NOT_COMPARED": RECEIVE_KERNEL,
    "ONE_HINT_ONE_RECEIVE": RECEIVE_KERNEL,
    "HINT_UNFENCED": RECEIVE_KERNEL,
    "COMPLETION_UNFENCED": RECEIVE_KERNEL,
    "ANNOUNCE_UNFENCED": RECEIVE_KERNEL,
    "SIGNAL_UNFENCED": RECEIVE_KERNEL,
    "NO_LOOK_AT_SIGNALS": RECEIVE_KERNEL,
    "SIGNALS_NOT_EXCHANGED": RECEIVE_TIME_OUT,
    "TAKEN_STORED": RECEIVE_CHANNELS,
    "NOT_RETRACTED": RECEIVE_CHANNELS,
    "RETRACT_NOT_AWAITED": RECEIVE_CHANNELS,
    "RETRACT_DROPS": RECEIVE_CHANNELS,
    "CLOSED_UNTOLD": RECEIVE_REVOKED,
}
MAPPINGS_MUTANTS = {
    "AWAITED_SEEN_FIRST": MAPPINGS_ONE,
    "DONE_READ_AGAIN": MAPPINGS_ONE,
    "GAP_PASSED_OVER": MAPPINGS_ONE,
    "KEEPER_DOES_NOT_LOOK": MAPPINGS_TWO,
    "NOBODY_WOKEN": MAPPINGS_ONE,
    "NONE_ANSWERED": MAPPINGS_AHEAD,
    "NOT_ALONE": MAPPINGS_AGAIN,
    "NOT_KEPT": MAPPINGS_ONE,
    "NOT_OVER_AGAIN": MAPPINGS_ONE,
    "NUMBERS_ANEW": MAPPINGS_ONE,
    "NUMBER_TWICE": MAPPINGS_RESTARTED,
    "SAID_BEFORE_LAID": MAPPINGS_ONE,
    "SOCKET_AT_ONCE": MAPPINGS_ONE,
    "STOPPED_INSIDE": MAPPINGS_TWO,
    "TOLD_BEFORE_SENT": MAPPINGS_TWO,
    "UNLOCKED": MAPPINGS_TWO,
    "UNMAPPING_NOT_COUNTED": MAPPINGS_TWO,
}
MUTANTS = [
    Question(model, bounds, mutant)
    for model, mutants in (
        ("channel", CHANNEL_MUTANTS),
        ("receive", RECEIVE_MUTANTS),
        ("mappings", MAPPINGS_MUTANTS),
    )
    for mutant, bounds in mutants.items()
]


class Ahead:
    """The searches of all tests that were chosen, as many at a time as there are processors, in the tests' order."""

    def __init__(self, items: list[pytest.Item], folders: pytest.TempPathFactory) -> None:
        self._threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        self._found: dict[str, Future[Search]] = {}
        for item in items:
            if isinstance(item, pytest.Function) and "ahead" in item.fixturenames:
                question = item.callspec.params["question"]
                self._found[item.nodeid] = self._threads.submit(verifier.search, question, folders.mktemp("search"))

    def found(self, item: pytest.Item) -> Search:
        return self._found[item.nodeid].result()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def ahead(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ahead]:
    searches = Ahead(request.session.items, tmp_path_factory)
    yield searches
    searches.close()


@pytest.mark.search
@pytest.mark.timeout(600)  # some take a minute, on a processor of their own
@pytest.mark.parametrize("question", QUICK, ids=str)
def test_protocol_holds(question: Question, ahead: Ahead, request: pytest.FixtureRequest) -> None:
    found = ahead.found(request.node)
    print(f"{question}: {found}")
    assert not found.error, f"{found}\n{found.trail}"


@pytest.mark.search
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("question", SLOW, ids=str)
def test_protocol_holds_with_larger_bounds(question: Question, tmp_path: Path) -> None:
    """One at a time: these take gigabytes."""
    found = verifier.search(question, tmp_path)
    print(f"{question}: {found}")
    assert not found.error, f"{found}\n{found.trail}"


@pytest.mark.search
@pytest.mark.parametrize("question", MUTANTS, ids=str)
def test_planted_bug_is_found(question: Question, ahead: Ahead, request: pytest.FixtureRequest) -> None:
    found = ahead.found(request.node)
    print(f"{question}: {found}")
    assert "assertion violated" in found.error or "invalid end state" in found.error
    assert "trail ends after" in found.trail


@pytest.mark.search
@pytest.mark.parametrize("question", [Question("channel", CHANNEL_SMALL, "NO_SECOND_LOOK", liveness=True)], ids=str)
def test_call_that_never_returns_is_found(question: Question, ahead: Ahead, request: pytest.FixtureRequest) -> None:
    assert "acceptance cycle" in ahead.found(request.node).error


def test_every_mutant_is_listed() -> None:
    for model, listed in (
        ("channel", CHANNEL_MUTANTS),
        ("receive", RECEIVE_MUTANTS),
        ("mappings", MAPPINGS_MUTANTS),
    ):
        planted = set(re.findall(r"MUTANT_(\w+)", (verifier.FOLDER / f"{model}.pml").read_text()))
        assert planted == set(listed)


def test_numbers_are_those_of_the_abi() -> None:
    defined = dict(re.findall(r"^#define (\w+) +(\d+)$", (verifier.FOLDER / "page.pml").read_text(), re.MULTILINE))
    wanted: dict[str, int] = {state.name: state.value for state in abi.ChannelState} | {
        "SLEEPING": abi.CHANNEL_SLEEPING,
        "LISTENER_SHIFT": abi.CHANNEL_LISTENER_SHIFT,
        "SEQUENCE_SHIFT": abi.CHANNEL_SEQUENCE_SHIFT,
        "WAITER": abi.CHANNEL_WAITER,
        "VALID": abi.CHANNEL_VALID,
    }
    assert {name: int(defined[name]) for name in wanted} == wanted
