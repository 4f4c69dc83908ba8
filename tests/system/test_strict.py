"""Strict scheduling of real processes: the same system has the same schedule, event for event."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from deploy.management import Management
from hw.cpu import DEFAULT_OPEN_FILES
from kerneld.cores.trace import IDLE
from kerneld.records import ThreadState
from tests.system.supervisor import ROOT, Supervisor
from tests.system.test_kernel_restart import Kernel

NAME = "strict"
HEAD = f"""
[system]
name = "{NAME}"
paths = ["{ROOT}"]
scheduling = "strict"
"""
VIRTUAL = 'clock = "virtual"\n'
TASKS = """
[machine.devices.clock0]
type = "clock"
port = 0x40
irq = 0

[task.service]
image = "tests.system.images.counted"
priority = 150
memory = "16M"
provides = { counted = "tests.system.images.counted:Counted" }

[task.ticker]
image = "tests.system.images.ordered"
priority = 140
memory = "16M"
devices = { clock = "clock0" }
config = { by = "clock", rounds = 5 }
uses = { service = "service.counted" }

# It asks for a channel from the first call on, and again and again: virtual cores refuse it.
[task.first]
image = "tests.system.images.ordered"
memory = "16M"
pool = "64K"
config = { by = "calls", rounds = 40 }
uses = { service = { from = "service.counted", rights = "wgp", channel = "always" } }

[task.second]
image = "tests.system.images.ordered"
memory = "16M"
budget = "100us"
config = { by = "calls", rounds = 40 }
uses = { service = "service.counted" }

# It gets as far as to wait for a call when nobody else has anything to do for now.
[task.last]
image = "tests.system.images.counted"
priority = 1
memory = "16M"
provides = { counted = "tests.system.images.counted:Counted" }
"""
# By the host's time, on two cores: equals that take turns on one, and a higher thread and a lower one on the other.
CORES = """
cores = 2

[task.service]
image = "tests.system.images.counted"
priority = 150
memory = "16M"
state = "16K"
provides = { counted = "tests.system.images.counted:Counted" }
"""
WORKER = """
[task.{name}]
image = "tests.system.images.ordered"
priority = {priority}
core = {core}
budget = "10ms"
memory = "16M"
state = "16K"
config = {{ by = "work", rounds = {rounds} }}
uses = {{ service = "service.counted" }}
"""
FOR_EVER_MS = 1_000_000_000
WORKERS = {"first": (100, 0), "second": (100, 0), "higher": (120, 1), "lower": (110, 1)}
COMPUTES_US, ENOUGH_US = 200_000, 600_000  # of processor time: by then it does not start any more
AT_ONCE_US = 5000  # processor time of the lower one that is taken for the end of a turn
ENDING = {"first", "second", "ticker"}
AT_ONCE: Final = 2
Rows = list[list[object]]


def wait_over(sel4py: Supervisor, management: Management, name: str = NAME) -> Rows:
    """What happened on the core until the clients and the ticker had ended, and nobody had anything to do.

    By the last task, since it begins after all others have: a task that has had no turn yet has no process either.
    """
    over = False
    while True:
        events, tasks = management.request("schedule"), management.request("ps")
        assert isinstance(events, list)
        assert isinstance(tasks, list)
        idle = bool(events) and events[-1][3] == IDLE
        if idle and over:
            return events
        states = {task["name"]: task["state"] for task in tasks}
        # It was ready from the beginning, so the core was not idle before it had its turn.
        assert not idle or "last" in states, f"the last task has ended: {_logs(sel4py, name)}"
        over = states.get("last") == ThreadState.BLOCKED_ON_RECEIVE.name and not states.keys() & ENDING


def _logs(sel4py: Supervisor, name: str) -> str:
    """What was said of it, and by it, so that a task that ends by itself is not only known to have ended."""
    folder = sel4py.folder / name
    return "\n".join(f"{file.name}: {file.read_text()}" for file in (folder / "logs").iterdir() if file.is_file())


def events_at_the_end(sel4py: Supervisor, name: str = NAME) -> Rows:
    """As `wait_over`; the system is told to end then."""
    with Management(sel4py.folder / name) as management:
        events = wait_over(sel4py, management, name)
        management.request("down")
    return events


def schedule_of(sel4py: Supervisor, description: Path, name: str = NAME) -> Rows:
    """Boot the system, and what happened on its core until the clients, the ticker and the last task were done."""
    sel4py.ok("up", description, "--detach", "--name", name)
    return events_at_the_end(sel4py, name)


def check_same(first: Rows, again: Rows, which: str) -> None:
    different = next((pair for pair in zip(first, again, strict=False) if pair[0] != pair[1]), None)
    assert again == first, f"{which} differs from the first one at {different}"


def first_schedule(sel4py: Supervisor, description: Path) -> Rows:
    description.write_text(HEAD + VIRTUAL + TASKS)
    first = schedule_of(sel4py, description, f"{NAME}-first")
    assert sum((thread, what) == ("ticker", "WAIT") for _, _, thread, what in first) == 5
    for name in ("first", "second"):
        assert sum((thread, what) == (name, "YIELD") for _, _, thread, what in first) == 40
    return first


def check_runs(sel4py: Supervisor, folder: Path, runs: int) -> None:
    """The system is booted so often, two at a time: each has a processor of the host less then, now and then."""
    description = folder / "strict.toml"
    first = first_schedule(sel4py, description)
    with ThreadPoolExecutor(AT_ONCE) as boots:
        names = [f"{NAME}-{number}" for number in range(1, runs)]
        for name, again in zip(
            names, boots.map(lambda name: schedule_of(sel4py, description, name), names), strict=True
        ):
            check_same(first, again, name)


@contextlib.contextmanager
def busy_host() -> Iterator[None]:
    """Others compute, and have more descriptors on their way in sockets than a task may have open."""
    spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs:
            socket.send_fds(ours, [b"on their way"], [ours.fileno()] * (DEFAULT_OPEN_FILES + 1))
            yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


@pytest.mark.slow
def test_by_the_hosts_time_those_who_compute_take_turns(sel4py: Supervisor, tmp_path: Path) -> None:
    text = HEAD + TASKS.replace('"calls", rounds = 40', '"work", rounds = 60').replace('"100us"', '"10ms"')
    description = tmp_path / "strict.toml"
    description.write_text(text)
    events = schedule_of(sel4py, description)
    turns = [event[2] for event in events if event[3] == "runs" and event[2] in ("first", "second")]
    assert sum(before != behind for before, behind in itertools.pairwise(turns)) > 4


def on_two_cores(folder: Path) -> Path:
    workers = [
        WORKER.format(name=name, priority=priority, core=core, rounds=FOR_EVER_MS)
        for name, (priority, core) in WORKERS.items()
    ]
    description = folder / "strict.toml"
    description.write_text(HEAD + CORES + "".join(workers))
    return description


def watch_workers(management: Management) -> int:
    """Wait until the higher one has used `ENOUGH_US`. The lower one never computes while it does.

    Returns how often that was looked at.
    """
    looks, before = 0, None
    while True:
        rows = management.request("ps")
        assert isinstance(rows, list)
        tasks = {row["name"]: row for row in rows}
        higher, used = tasks.get("higher"), None
        if higher is not None and higher["state"] == "RUNNING" and higher["cpu_us"] > COMPUTES_US:
            used = tasks["lower"]["cpu_us"] if "lower" in tasks else 0
            if before is not None:
                looks += 1
                assert used - before < AT_ONCE_US, "the lower one computes beside the higher one"
            if higher["cpu_us"] > ENOUGH_US:
                return looks
        before = used


def check_turns(events: Rows, begin: int = 0) -> None:
    """From this event on the equals of core 0 have taken turns."""
    turns = [event[2] for event in events[begin:] if event[3] == "runs" and event[2] in ("first", "second")]
    assert sum(one != other for one, other in itertools.pairwise(turns)) > 10


@pytest.mark.slow
def test_a_killed_kernel_goes_on_with_two_cores_by_the_hosts_time(sel4py: Supervisor, tmp_path: Path) -> None:
    sel4py.ok("up", on_two_cores(tmp_path), "--detach")
    with Management(sel4py.folder / NAME) as management:
        before = management.request("schedule")
        assert isinstance(before, list)
    Kernel(sel4py, NAME).kill()
    with Management(sel4py.folder / NAME) as management:
        assert watch_workers(management) > 10
        events = management.request("schedule")
    assert isinstance(events, list)
    assert events[: len(before)] == before
    check_turns(events, len(before))
    sel4py.ok("down")


@pytest.mark.slow
def test_a_resumed_system_goes_on_with_two_cores_by_the_hosts_time(sel4py: Supervisor, tmp_path: Path) -> None:
    sel4py.ok("up", on_two_cores(tmp_path), "--detach")
    sel4py.ok("suspend", tmp_path / "file")
    sel4py.ok("resume", tmp_path / "file", "--detach")
    with Management(sel4py.folder / NAME) as management:
        assert watch_workers(management) > 10
        events = management.request("schedule")
    assert isinstance(events, list)
    check_turns(events)
    sel4py.ok("down")


def test_the_schedule_is_the_same_on_a_busy_host(sel4py: Supervisor, tmp_path: Path) -> None:
    description = tmp_path / "strict.toml"
    first = first_schedule(sel4py, description)
    with busy_host():
        check_same(first, schedule_of(sel4py, description), "the one of a busy host")


@pytest.mark.slow
def test_a_killed_kernel_is_not_seen_in_the_schedule(sel4py: Supervisor, tmp_path: Path) -> None:
    """All that happened is what happens in a system whose kernel lives, at the same virtual times."""
    description = tmp_path / "strict.toml"
    description.write_text(HEAD + VIRTUAL + TASKS.replace("rounds = 40", "rounds = 600"))
    whole = schedule_of(sel4py, description)
    sel4py.ok("up", description, "--detach")
    Kernel(sel4py, NAME).kill()
    check_same(whole, events_at_the_end(sel4py), "the one of a killed kernel")


@pytest.mark.slow
def test_virtual_time_stands_while_the_system_is_suspended(sel4py: Supervisor, tmp_path: Path) -> None:
    """Its tasks begin anew, at the time at which they were stopped, and do the same again at the same distances."""
    description = tmp_path / "strict.toml"
    lasting = TASKS.replace('memory = "16M"', 'memory = "16M"\nstate = "16K"')
    description.write_text(HEAD + VIRTUAL + lasting)
    sel4py.ok("up", description, "--detach")
    with Management(sel4py.folder / NAME) as management:
        before = wait_over(sel4py, management)
    sel4py.ok("suspend", tmp_path / "file")
    sel4py.ok("resume", tmp_path / "file", "--detach")
    with Management(sel4py.folder / NAME) as management:
        after = wait_over(sel4py, management)
    sel4py.ok("down")
    assert before[-1][0] <= after[0][0] < before[-1][0] + 10_000
    assert after[-1][0] < before[-1][0] + 100_000


@pytest.mark.slow
@pytest.mark.timeout(900)  # most of a minute, where nobody else needs the processors
def test_the_schedule_is_the_same_a_hundred_times(sel4py: Supervisor, tmp_path: Path) -> None:
    check_runs(sel4py, tmp_path, 100)
