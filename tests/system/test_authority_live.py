"""Nothing is ever held in a running system that the closure of its description excludes: looked at all the time, while
the systems that ship do their work, and while their tasks are killed.
"""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from deploy.authority import holdings
from deploy.authority.closure import Closure
from deploy.authority.holdings import Holdings
from deploy.description import SYSTEMS, load
from deploy.management import Management, ManagementError
from libsel4py.description import System
from tests.system.live_bound import Bound, is_built
from tests.system.supervisor import PROMPT, SECONDS, Supervisor

SECONDS_BETWEEN = 0.01
LOOK_SECONDS = 1.0  # for the answer, which may never come from a system that ends
FILES = "write /tmp/a hello\ncat /tmp/a\nls /tmp\nwrite /b hello\ncat /b\nls /\n"
WORKSTATION = f"{FILES}names\nping 2000\nifconfig\n{5 * FILES}exit\n"
ALPHA = "ping 10.1.0.2 1\nfetch http://10.1.0.2/hello\nexit\n"


def holds(management: Management) -> Holdings:
    return holdings.read(management.request("inspect", what="holdings"))


def built(management: Management, system: System) -> Holdings:
    """What is held once root has built the system."""
    for _ in management.events(SECONDS_BETWEEN):
        found = holds(management)
        if is_built(system, found):
            return found
    raise AssertionError("the system is never built")


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Waits a little for it: a look takes the kernel's time, and the system is to get on with its work."""
    try:
        process.wait(SECONDS_BETWEEN)
    except subprocess.TimeoutExpired:
        return False
    return True


def watched(process: subprocess.Popen[bytes], folder: Path, system: System) -> Bound:
    """Looks until the process, which runs the system in this folder, has ended. Raises AssertionError for what is
    beyond the bound."""
    with Management(folder, SECONDS) as management:
        bound = Bound(system, built(management, system))
        management.seconds = LOOK_SECONDS
        while not has_ended(process):
            with contextlib.suppress(ManagementError):  # it has ended meanwhile, or is busy: it is asked again
                beyond = bound.violations(holds(management))
                assert not beyond, f"after {bound.looks} looks: {'; '.join(beyond)}"
    assert process.wait(SECONDS) == 0
    return bound


def worked(sel4py: Supervisor, name: str, typed: str = "") -> Bound:
    """A system that does what is typed, and ends; looked at meanwhile."""
    process = sel4py.start("up", SYSTEMS / f"{name}.toml")
    assert process.stdin is not None
    process.stdin.write(typed.encode())
    process.stdin.close()
    description = load(SYSTEMS / f"{name}.toml")
    return watched(process, sel4py.folder / description.system.name, description.system)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "typed", "least"), [("workstation", WORKSTATION, 4), ("confined", "", 1)])
def test_a_system_that_works_stays_within_its_description(
    name: str, typed: str, least: int, sel4py: Supervisor
) -> None:
    bound = worked(sel4py, name, typed)
    assert bound.looks >= least
    assert len(bound.handed_on) > 5, "sessions were opened, or nothing was tested"


@pytest.mark.slow
def test_a_system_that_holds_device_memory_stays_within_its_description(sel4py: Supervisor) -> None:
    sel4py.ok("up", "picture", "--detach")
    system = load(SYSTEMS / "picture.toml").system
    with Management(sel4py.folder / "picture", SECONDS) as management:
        bound = Bound(system, built(management, system))
        for _ in range(20):
            assert not bound.violations(holds(management))
    assert bound.most > 50
    sel4py.ok("down")


@pytest.mark.slow
def test_nodes_that_work_with_each_other_stay_within_their_descriptions(sel4py: Supervisor) -> None:
    beta = sel4py.terminal("up", SYSTEMS / "two-nodes" / "beta.toml")
    beta.until(PROMPT)
    beta.type(b"write hello from beta\r")
    beta.until(PROMPT)
    assert len(worked(sel4py, "two-nodes/alpha", ALPHA).handed_on) > 5
    beta.type(b"exit\r")
    assert beta.wait() == 0
    for lock in sel4py.folder.glob("**/*.lock"):
        lock.unlink()  # a switch's lock stays for the next one


@pytest.mark.slow
def test_a_system_whose_tasks_are_killed_stays_within_its_description(sel4py: Supervisor) -> None:
    process = sel4py.start("chaos", "exercise", "--faults", "kill", "--rate", "8", "--count", "40", "--seed", "7")
    bound = watched(process, sel4py.folder / "exercise", load(SYSTEMS / "exercise.toml").system)
    assert bound.looks > 20
    assert len(bound.handed_on) > 20


@pytest.mark.slow
def test_a_bound_of_less_than_the_system_is_left(sel4py: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a closure in which nobody answers a call with a capability."""
    monkeypatch.setattr(Closure, "_answer", lambda *_: None)
    with pytest.raises(AssertionError, match=r"looks: .* holds ENDPOINT"):
        worked(sel4py, "workstation", WORKSTATION)
