"""Attempts to escape: each fails in a task, and each that can be shown to succeed somewhere succeeds there."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hw.control_group import Bounds, ControlGroup
from hw.control_group_places import NotDelegated
from hw.cpu import sandbox_layers
from servers.network.stack import is_built
from tests.escape.attempt import DEPUTIES, Attempt, Fate, Layer, Outcome, Outside, corpus
from tests.escape.deputies import ENDED
from tests.escape.judge import HARMED, HELD
from tests.escape.scene import RAM_BYTES, Run, beside_servers, inside, outside, victim
from tests.escape.stage import Stage
from tests.system.supervisor import Supervisor, watched

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the attempts' numbers and code are x86_64's")

ATTEMPTS = 200
SAMPLE = 16  # one in so many, by default
CODE = Path(__file__).with_name("attempts")
# Granted what they take they do harm, which is seen: the control of what is looked at behind each.
HARMFUL = {"deputies/constructor_destroy_by_requestors_key", "deputies/network_connect_elsewhere"}
HOSTED = [attempt for attempt in corpus() if attempt.family != DEPUTIES]
ON_SERVERS = [attempt for attempt in corpus() if attempt.family == DEPUTIES]


@pytest.fixture
def sel4py(tmp_path: Path) -> Iterator[Supervisor]:
    with watched(tmp_path / "run") as supervisor:
        yield supervisor


@pytest.fixture
def stage() -> Iterator[Stage]:
    with victim() as stage:
        yield stage


def delegated() -> bool:
    """Whether this host lets a system have a control group."""
    try:
        ControlGroup.make("test", Bounds.of(RAM_BYTES)).close()
    except NotDelegated:
        return False
    return True


def shown_outside(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Those that succeed in an ordinary process of this user, on this host."""
    here = {
        Outside.WORKS: True,
        Outside.NAMESPACES: sandbox_layers().user_namespaces,
        Outside.OWNER: os.access(CODE, os.W_OK),
        Outside.ROOT: os.getuid() == 0,
    }
    return [attempt for attempt in attempts if here.get(attempt.outside)]


def granted_ones(attempts: Sequence[Attempt]) -> list[Attempt]:
    return [attempt for attempt in attempts if attempt.outside is Outside.GRANTED]


def failed_to(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """Attempts that did not succeed, of those that this host can show: what it does not know answers ENOSYS."""
    lacking = (Outcome(Fate.NOT_HERE), Outcome(Fate.REFUSED, "ENOSYS"))
    return {
        path: str(outcome)
        for path, outcome in outcomes.items()
        if outcome.fate is not Fate.SUCCEEDED and outcome not in lacking
    }


def stopped_here(attempts: Sequence[Attempt]) -> list[Attempt]:
    """All but those that a control group alone stops, where this user can have none."""
    return [attempt for attempt in attempts if attempt.layers != (Layer.CGROUP,) or delegated()]


def ensure_none_escapes(stage: Stage, among: Sequence[Attempt]) -> None:
    attempts = stopped_here(among)
    run = inside(stage, attempts)
    assert run.status == HELD, run.logs
    ensure_held(run, attempts)


def ensure_held(run: Run, attempts: Sequence[Attempt]) -> None:
    assert not run.harm, run.harm
    assert sorted(run.outcomes) == [attempt.path for attempt in attempts], run.logs
    wrong = (Fate.SUCCEEDED, Fate.BROKEN, Fate.ENDED)
    escaped = {path: str(outcome) for path, outcome in run.outcomes.items() if outcome.fate in wrong}
    assert not escaped, f"{escaped}\n{run.logs}"


def ensure_succeed_outside(stage: Stage, attempts: Sequence[Attempt]) -> int:
    """In ordinary processes; how many did."""
    free = outside(stage, shown_outside(attempts))
    assert sorted(free) == [attempt.path for attempt in shown_outside(attempts)]
    assert not failed_to(free)
    return successes(free)


def ensure_succeed_granted(stage: Stage, attempts: Sequence[Attempt]) -> int:
    """In tasks that were granted what it takes, and that no layer of the sandbox holds; how many did."""
    run = inside(stage, granted_ones(attempts), granted=True, watched=False, without="all")
    assert run.status == HELD, run.logs
    assert not failed_to(run.outcomes), run.logs
    return successes(run.outcomes)


def successes(outcomes: dict[str, Outcome]) -> int:
    return sum(outcome.fate is Fate.SUCCEEDED for outcome in outcomes.values())


def test_attempts_have_their_form() -> None:
    attempts = corpus()
    assert len(attempts) >= ATTEMPTS
    assert all(attempt.layers for attempt in attempts)
    assert {layer for attempt in attempts for layer in attempt.layers} == set(Layer)


def test_a_sample_escapes_outside_alone(stage: Stage) -> None:
    sample = HOSTED[::SAMPLE]
    ensure_none_escapes(stage, sample)
    assert ensure_succeed_outside(stage, sample)


def test_harm_is_seen(stage: Stage) -> None:
    """The control of what the judge looks at: attempts that were granted what it takes do harm."""
    paths = ("frames/map_writable", "capabilities/raise_other_signals", "capabilities/mint_another_badge")
    run = inside(stage, [attempt for attempt in corpus() if attempt.path in paths], granted=True)
    assert run.status == HARMED
    assert {line.partition(":")[0] for line in run.harm} == set(paths), run.harm


@pytest.mark.slow
def test_no_attempt_escapes(stage: Stage) -> None:
    ensure_none_escapes(stage, HOSTED)


@pytest.mark.slow
def test_all_attempts_escape_where_nothing_stops_them(stage: Stage) -> None:
    assert ensure_succeed_outside(stage, HOSTED) + ensure_succeed_granted(stage, HOSTED) >= ATTEMPTS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "paths"),
    [
        ("seccomp", ("memory/make_file", "names/make_memory", "processes/fork")),
        ("landlock", ("proc/list_processes", "proc/read_own_maps")),
        ("tree", ("files/find_out", "files/follow_link", "files/find_own_folder")),
        ("landlock,tree", ("files/list_folder", "files/read_by_path")),
        ("limits", ("exhaustion/descriptors", "memory/by_many")),
        ("cgroup", ("exhaustion/flood_of_threads",)),
        ("seccomp,cgroup", ("exhaustion/flood_of_processes",)),
        ("all", ("files/write_file", "processes/write_memory", "signals/kill", "sockets/connect_tcp")),
    ],
)
def test_without_a_layer_they_escape(stage: Stage, layer: str, paths: tuple[str, ...]) -> None:
    if "landlock" in layer and not sandbox_layers().landlock:
        pytest.skip("this host has no Landlock")
    run = inside(stage, [attempt for attempt in HOSTED if attempt.path in paths], without=layer)
    assert set(run.outcomes) == set(paths), run.logs
    assert not failed_to(run.outcomes), run.logs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "path"),
    [
        ("", "exhaustion/flood_of_threads"),
        ("seccomp", "exhaustion/flood_of_processes"),
    ],
)
def test_the_control_group_stops_floods_that_other_layers_let_pass(stage: Stage, layer: str, path: str) -> None:
    if not delegated():
        pytest.skip("this host delegates no control group")
    run = inside(stage, [attempt for attempt in HOSTED if attempt.path == path], without=layer)
    assert run.outcomes == {path: Outcome(Fate.REFUSED, "EAGAIN")}, run.logs
    assert (run.status, run.harm) == (HELD, []), "and the system goes on"


@pytest.mark.slow
@pytest.mark.skipif(not is_built(), reason="this tree was built without lwIP's source (make build says why)")
def test_no_server_is_a_confused_deputy(sel4py: Supervisor, tmp_path: Path) -> None:
    confined = beside_servers(sel4py, tmp_path, ON_SERVERS)
    assert confined.status == ENDED, confined.logs
    ensure_held(confined, ON_SERVERS)
    granted = beside_servers(sel4py, tmp_path, granted_ones(ON_SERVERS), granted=True)
    assert sorted(granted.outcomes) == [attempt.path for attempt in granted_ones(ON_SERVERS)], granted.logs
    assert not failed_to(granted.outcomes), granted.logs
    assert {path for path in HARMFUL if any(line.startswith(path) for line in granted.harm)} == HARMFUL, granted.harm
