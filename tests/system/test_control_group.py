"""A booted system's control group: its tasks are in it from the first line on, and it goes with the system."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from hw.control_group import PREFIX, RECORD, Bounds, ControlGroup
from hw.control_group_places import NotDelegated
from hw.layers import VARIABLE
from hw.oom_score import HIGHEST, RAISED
from hw.runtime_folder import prepare_folder
from kerneld.host.ahead import NAME
from tests.system.conftest import RAM_BYTES, SECONDS, Boot, Booted, wait_gone
from tests.system.images.taking import PIECE

SMALL_RAM = 64 << 20

T = TypeVar("T")


@pytest.fixture(autouse=True)
def delegated() -> None:
    try:
        ControlGroup.make("test", Bounds.of(RAM_BYTES)).close()
    except NotDelegated as refused:
        pytest.skip(f"this host delegates no control group: {refused}")


def groups(system: Booted) -> list[Path]:
    """Where the system's tasks are, once it is up."""
    system.ask("status")
    return [Path(line) for line in (system.folder / RECORD).read_text().splitlines()]


def name(pid: int) -> str:
    return Path("/proc", str(pid), "comm").read_text().strip()


def score(pid: int) -> int:
    return int(Path("/proc", str(pid), "oom_score_adj").read_text())


def pids(system: Booted) -> set[int]:
    """Of its tasks."""
    rows = system.ask("ps")
    assert isinstance(rows, list)
    assert rows
    return {row["pid"] for row in rows}


def kernel(system: Booted) -> int:
    status = system.ask("status")
    assert isinstance(status, dict)
    return int(status["pid"])


def until(look: Callable[[], T]) -> T:
    """What it sees in the end that is not nothing; what it sees at last otherwise."""
    deadline = time.monotonic() + SECONDS
    while not (seen := look()) and time.monotonic() < deadline:
        os.sched_yield()
    return seen


def await_log(system: Booted, text: str) -> None:
    assert until(lambda: system.log("root") == text), system.logs()


def end_who_stays(system: Booted) -> None:
    """Root's only child."""
    rows = system.ask("ps")
    assert isinstance(rows, list)
    (pid,) = (row["pid"] for row in rows if row["name"] != "root")
    os.kill(pid, signal.SIGKILL)


def used(system: Booted) -> int:
    """Memory, in bytes."""
    found = [folder / each for folder in groups(system) for each in ("memory.usage_in_bytes", "memory.current")]
    return next(int(file.read_text()) for file in found if file.exists())


def members(folder: Path) -> set[int]:
    return set(map(int, (folder / "cgroup.procs").read_text().split()))


def test_tasks_are_in_it_and_kernel_and_monitor_are_not(boot: Boot) -> None:
    system = boot("wait")
    made = groups(system)
    assert made
    for folder in made:
        assert folder.name.startswith(f"{PREFIX}test-")
        assert pids(system) <= members(folder)
        assert members(folder).isdisjoint({system.process.pid, kernel(system)})
        assert "sel4py-zygote" in {name(pid) for pid in members(folder)}
    system.ask("down")
    assert system.wait() == 0
    assert not any(folder.exists() for folder in made)


def test_tasks_are_to_end_before_the_zygote_where_memory_runs_out(boot: Boot) -> None:
    system, own = boot("wait"), score(os.getpid())
    (folder, *_) = groups(system)
    assert {score(pid) for pid in pids(system)} == {min(HIGHEST, own + RAISED)}

    def zygotes() -> list[int]:
        """Which name a child has too as it begins, and while it forks, it has the score of that."""
        return [score(pid) for pid in members(folder) if name(pid) == "sel4py-zygote"]

    assert until(lambda: zygotes() == [own])
    system.ask("down")
    assert system.wait() == 0


def test_it_outlives_a_killed_kernel(boot: Boot) -> None:
    system = boot("wait")
    made = groups(system)
    before, killed = pids(system), kernel(system)
    os.kill(killed, signal.SIGKILL)
    assert wait_gone(killed)
    assert kernel(system) != killed
    assert pids(system) == before
    assert all(before <= members(folder) for folder in made)
    system.ask("down")
    assert system.wait() == 0
    assert not any(folder.exists() for folder in made)


def test_a_killed_monitor_leaves_it_to_the_next_system_of_that_folder(boot: Boot) -> None:
    system = boot("wait")
    made = groups(system)
    left = system.pids()
    system.signal(signal.SIGKILL)
    assert system.wait() == -signal.SIGKILL
    assert all(folder.exists() for folder in made)
    assert wait_gone(*left)
    prepare_folder(system.folder)  # which the next monitor does first
    assert not any(folder.exists() for folder in made)
    assert not (system.folder / RECORD).exists()


def test_a_system_without_it(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "cgroup")
    system = boot("wait")
    status = system.ask("status")
    assert isinstance(status, dict)
    assert status["without_layers"] == ["cgroup"]
    assert not (system.folder / RECORD).exists()
    system.ask("down")
    assert system.wait() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="a process that hides its memory is root's to change")
def test_who_waits_ahead_of_need_is_to_end_before_all_tasks(boot: Boot) -> None:
    """And before root; as a task he is to end as all are."""
    system = boot("1", "tests.system.images.taking", image="tests.system.images.flooded")
    (folder, *_) = groups(system)
    await_log(system, "0\n")
    assert len(pids(system)) == 2, "root and who stays"
    (waiting,) = until(lambda: [pid for pid in members(folder) if name(pid) == NAME and score(pid) == HIGHEST])
    assert {score(pid) for pid in pids(system)} == {min(HIGHEST, score(os.getpid()) + RAISED)}
    os.kill(waiting, signal.SIGKILL)
    assert wait_gone(waiting)
    end_who_stays(system)
    assert system.wait() == 3, system.logs()
    assert system.log("root").split() == ["0", "0"], "and another one was made, or was not needed"


@pytest.mark.slow
@pytest.mark.parametrize(("without", "status"), [("seccomp", signal.SIGKILL), ("seccomp,cgroup", 0)])
def test_memory_that_no_limit_counts_ends_who_takes_it_alone(
    boot: Boot, monkeypatch: pytest.MonkeyPatch, without: str, status: int
) -> None:
    """The filter refuses such memory, so it is left out."""
    monkeypatch.setenv(VARIABLE, without)
    bound = Bounds.of(SMALL_RAM).memory
    taken = (bound >> 20) + PIECE
    system = boot(str(taken), "tests.system.images.taking", image="tests.system.images.flooded", ram_bytes=SMALL_RAM)
    await_log(system, f"{int(status)}\n")
    if "cgroup" not in without:
        # Linux gives a dead process's shared memory back behind its end.
        assert until(lambda: used(system) < bound // 2)
    end_who_stays(system)
    assert system.wait() == 3, system.logs()
    assert system.log("root").split() == [str(int(status)), "0"], "and the zygote starts the next"
