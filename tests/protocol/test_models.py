"""The channel's protocol, checked by Spin for every interleaving within the bounds given here.

docs/manual/channel_protocol.md says what is shown and what is not. `make protocol` runs the quick ones and prints what
was explored, `make protocol ARGS='-m slow'` the larger bounds. A model that finds no planted bug shows nothing: each
mutant must yield an error trail.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from libsel4py import abi
from tests.protocol import verifier


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

QUICK = [
    ("channel", CHANNEL_RACE, False),
    ("channel", CHANNEL_SUCCESSION, False),
    ("channel", CHANNEL_RIVALS, False),
    ("channel", CHANNEL_ROUND, False),
    ("channel", CHANNEL_SMALL | {"TOLD_TWICE": 0}, True),
    ("receive", RECEIVE_CHANNELS, False),
    ("receive", RECEIVE_KERNEL, False),
    ("receive", RECEIVE_TIME_OUT, False),
    ("receive", RECEIVE_REVOKED, False),
]
SLOW = [
    ("channel", CHANNEL_RACE | {"CALLS": 2}, False),
    ("channel", CHANNEL_SUCCESSION | {"CALLS": 1, "FATES": 2, "TOLD_TWICE": 0}, False),
    ("channel", CHANNEL_SUCCESSION | {"CALLS": 1, "RIVAL": 1, "TOLD_TWICE": 0}, False),
    ("receive", RECEIVE_CHANNELS | {"REVOCATIONS": 1}, False),
    ("receive", RECEIVE_KERNEL | {"WITHDRAWALS": 1, "TIME_OUTS": 1}, False),
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
    "NOT_RETRACTED": RECEIVE_CHANNELS,
    "RETRACT_NOT_AWAITED": RECEIVE_CHANNELS,
    "RETRACT_DROPS": RECEIVE_CHANNELS,
    "CLOSED_UNTOLD": RECEIVE_REVOKED,
}
MUTANTS = [("channel", *item) for item in CHANNEL_MUTANTS.items()] + [
    ("receive", *item) for item in RECEIVE_MUTANTS.items()
]


def _holds(model: str, bounds: dict[str, int], liveness: bool, folder: Path) -> None:
    found = verifier.search(model, bounds, folder, liveness=liveness)
    setting = " ".join(f"{name}={value}" for name, value in bounds.items())
    print(f"{model}{' (liveness)' if liveness else ''} {setting}: {found}")
    assert not found.error, f"{found}\n{found.trail}"


@pytest.mark.search
@pytest.mark.parametrize(("model", "bounds", "liveness"), QUICK)
def test_protocol_holds(model: str, bounds: dict[str, int], liveness: bool, tmp_path: Path) -> None:
    _holds(model, bounds, liveness, tmp_path)


@pytest.mark.search
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("model", "bounds", "liveness"), SLOW)
def test_protocol_holds_with_larger_bounds(model: str, bounds: dict[str, int], liveness: bool, tmp_path: Path) -> None:
    _holds(model, bounds, liveness, tmp_path)


@pytest.mark.search
@pytest.mark.parametrize(
    ("model", "mutant", "bounds"), MUTANTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_planted_bug_is_found(model: str, mutant: str, bounds: dict[str, int], tmp_path: Path) -> None:
    found = verifier.search(model, bounds, tmp_path, mutant=mutant)
    print(f"{model} {mutant}: {found}")
    assert "assertion violated" in found.error or "invalid end state" in found.error
    assert "trail ends after" in found.trail


@pytest.mark.search
def test_call_that_never_returns_is_found(tmp_path: Path) -> None:
    found = verifier.search("channel", CHANNEL_SMALL, tmp_path, mutant="NO_SECOND_LOOK", liveness=True)
    assert "acceptance cycle" in found.error


def test_every_mutant_is_listed() -> None:
    for model, listed in (("channel", CHANNEL_MUTANTS), ("receive", RECEIVE_MUTANTS)):
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
