"""Schedules of faults, what is read of workloads, and how long recoveries took."""

from __future__ import annotations

import json
import os
import sys
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.chaos.recoveries import Recoveries, percentile
from deploy.chaos.schedule import Fault, Injection, NoTarget, schedule, targets_of
from deploy.chaos.workloads import HostWorkload, TaskWorkloads
from deploy.cli import main
from deploy.description import find, load
from libsel4py.workload import MARK, Workload

SYSTEM = load(find("workstation")).system
TASK_FAULTS = (Fault.KILL, Fault.HANG, Fault.SLOW, Fault.CORRUPT_MESSAGE, Fault.BITFLIP)


def test_a_seed_gives_the_same_schedule_again() -> None:
    first, again, other = (list(islice(schedule(SYSTEM, tuple(Fault), 10.0, seed), 500)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert {each.fault for each in first} == set(Fault)


def test_faults_come_as_often_as_they_are_to() -> None:
    many = list(islice(schedule(SYSTEM, (Fault.KILL,), 100.0, 7), 5000))
    assert [each.at for each in many] == sorted(each.at for each in many)
    assert [each.number for each in many] == list(range(5000))
    assert many[-1].at == pytest.approx(50, rel=0.1)


@pytest.mark.parametrize("fault", TASK_FAULTS)
def test_servers_are_hit_and_what_they_all_stand_for_is_spared(fault: Fault) -> None:
    found = targets_of(SYSTEM, fault)
    assert {"block", "console", "network"} <= set(found)
    assert not {"shell", "ping", "root"} & set(found)  # the system's end; nobody starts it again; no task of it
    assert targets_of(SYSTEM, fault, ("shell", "disk0")) == ("shell",)


def test_devices_are_hit_by_what_they_are() -> None:
    assert targets_of(SYSTEM, Fault.DISK_ERROR) == ("disk0",)
    assert targets_of(SYSTEM, Fault.NET_LOSS) == ("net0",)
    assert targets_of(SYSTEM, Fault.DROP_IRQ) == ("uart0", "disk0", "net0")
    assert targets_of(SYSTEM, Fault.KILL_KERNEL, ("pong",)) == ("",)


def test_a_fault_that_hits_nothing_is_refused_with_what_could_be_hit() -> None:
    with pytest.raises(NoTarget, match=r"nothing in workstation can be hit by disk-error; .* disk0"):
        schedule(SYSTEM, (Fault.DISK_ERROR,), 1.0, 1, ("pong",))


def write_counts(log: Path, name: str, wrong: bool = False) -> None:
    with log.open("a") as file:
        worker = Workload(name, write=lambda line: file.write(line + "\n"))
        with worker.attempt():
            worker.check(not wrong, "it was lost")
        worker.tell()


def test_lives_of_a_workload_are_added_and_garbage_is_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "client.log"
    found = TaskWorkloads(tmp_path)
    write_counts(log, "a")
    assert found.counts()["client.a"].attempts == 1
    with log.open("ab") as file:
        file.write(b"\xff\n" + MARK.encode() + b'{"workload": 1}\n' + MARK.encode() + b"[" * 1000 + b"\nworkload half")
    assert found.counts()["client.a"].attempts == 1
    with log.open("ab") as file:
        file.write(b"\n")
    write_counts(log, "a", wrong=True)
    write_counts(log, "b")
    counts = found.counts()
    assert (counts["client.a"].lives, counts["client.a"].attempts, counts["client.a"].wrong) == (2, 2, 1)
    assert counts["client.b"].attempts == 1
    assert counts["client.a"].plain()["texts"] == ["WRONG: it was lost"]


def test_a_command_of_the_host_fails_by_its_status() -> None:
    source = "import os, sys; print('seen', os.environ['SEL4PY_SYSTEM']); sys.exit(3)"
    work = HostWorkload([sys.executable, "-c", source], {**os.environ, "SEL4PY_SYSTEM": "one"})
    try:
        work.look()
        while not work.runs:
            os.waitid(os.P_PID, work._process.pid, os.WEXITED | os.WNOWAIT)  # type: ignore[union-attr]
            work.look()
    finally:
        work.close()
    assert work.plain() == {"runs": 1, "failed": 1, "first_failure": "status 3: seen one"}


def test_a_task_that_starts_is_the_end_of_all_that_hit_it() -> None:
    seen = Recoveries()
    for number, (fault, target, at) in enumerate(
        [(Fault.KILL, "a", 1.0), (Fault.HANG, "a", 1.5), (Fault.SLOW, "b", 1.6), (Fault.KILL, "c", 1.7)]
    ):
        seen.injected(Injection(number, at, fault, target), at)
    seen.event({"event": "died", "task": "a"}, 1.8)
    seen.event({"event": "started", "task": "a"}, 2.0)
    assert seen.seconds == {Fault.KILL: [1.0], Fault.HANG: [0.5]}
    assert seen.missing() == {"c": 1}


def test_percentiles() -> None:
    assert [percentile([3, 1, 2, 4], share) for share in (0.25, 0.5, 0.99, 1.0)] == [1, 2, 4, 4]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--faults", "fire"], "fire is no fault; there are kill, hang"),
        (["--faults", ","], "nothing is no fault"),
        (["--targets", "nobody"], "workstation has no nobody; there are "),
        (["--targets", "pong", "--faults", "net-loss"], "nothing in workstation can be hit by net-loss"),
        (["--rate", "0"], "0"),
    ],
)
def test_bad_options_are_refused_with_what_would_work(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(main, ["chaos", "workstation", *arguments])
    assert result.exit_code != 0
    assert complaint in result.output


def test_the_report_is_plain(tmp_path: Path) -> None:
    from deploy.chaos.campaign import Outcome, Plan

    outcome = Outcome(Plan((Fault.KILL, Fault.NET_LOSS), 1.0, 5, 1.0), 0.0)
    outcome.recoveries.seconds[Fault.KILL] += [0.002, 0.004]
    outcome.injected[Fault.KILL] = 2
    told = json.loads(json.dumps(outcome.plain()))
    assert told["faults"]["kill"] == {
        "injected": 2,
        "skipped": 0,
        "recovered": 2,
        "p50_ms": 2.0,
        "p99_ms": 4.0,
        "max_ms": 4.0,
    }
    assert told["faults"]["net-loss"] == {"injected": 0, "skipped": 0}
    assert told["ok"]
    outcome.missing = ["pong"]
    assert not outcome.ok
