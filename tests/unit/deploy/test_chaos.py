"""Schedules of faults, what is read of workloads, and how long recoveries took."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec import structs

from deploy.chaos.campaign import Campaign, Outcome, Plan
from deploy.chaos.disks import with_empty_disks
from deploy.chaos.injector import Injector
from deploy.chaos.recoveries import Recoveries, Recovery
from deploy.chaos.reliability import page, read
from deploy.chaos.schedule import CHANGES_BITS, Injection, NoTarget, schedule, standing_on, targets_of
from deploy.chaos.workloads import Counts, HostWorkload, TaskWorkloads
from deploy.cli import main
from deploy.cli.chaos import _show, _take_down
from deploy.description import find, load
from deploy.host_devices import DiskFile
from deploy.management import Management, Refused
from deploy.runtime import Running, running
from kerneld.fault_kinds import Fault
from libsel4py.description import Group, System
from libsel4py.workload import MARK, Workload, bucket, percentile
from tests.unit.deploy.conftest import FakeSystems

SYSTEM = load(find("workstation")).system
EVEN = dict.fromkeys(Fault, 1.0)
TASK_FAULTS = (Fault.KILL, Fault.HANG, Fault.SLOW, Fault.CORRUPT_MESSAGE, Fault.BITFLIP)


def test_a_seed_gives_the_same_schedule_again() -> None:
    first, again, other = (list(islice(schedule(SYSTEM, EVEN, 10.0, seed), 500)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert {each.fault for each in first} == set(Fault)


def test_faults_come_as_often_as_they_are_to() -> None:
    many = list(islice(schedule(SYSTEM, {Fault.KILL: 1.0}, 100.0, 7), 5000))
    assert [each.at for each in many] == sorted(each.at for each in many)
    assert [each.number for each in many] == list(range(5000))
    assert many[-1].at == pytest.approx(50, rel=0.1)


@pytest.mark.parametrize("fault", TASK_FAULTS)
def test_servers_are_hit_and_what_they_all_stand_for_is_spared(fault: Fault) -> None:
    found = targets_of(SYSTEM, fault)
    assert {"block", "console", "network"} <= set(found)
    assert not {"shell", "ping", "root"} & set(found)  # the system's end; nobody starts it again; no task of it
    assert targets_of(SYSTEM, fault, ("shell", "disk0")) == ("shell",)
    assert ("reincarnation" in found) is (fault not in CHANGES_BITS)  # who could give up all the others
    assert targets_of(SYSTEM, fault, ("reincarnation",)) == ("reincarnation",)


def test_devices_are_hit_by_what_they_are() -> None:
    assert targets_of(SYSTEM, Fault.DISK_ERROR) == ("disk0",)
    assert targets_of(SYSTEM, Fault.NET_LOSS) == ("net0",)
    assert targets_of(SYSTEM, Fault.DROP_IRQ) == ("uart0", "disk0", "net0", "clock1")  # nobody drives clock0
    assert targets_of(SYSTEM, Fault.KILL_KERNEL, ("pong",)) == ("",)


def test_a_fault_that_hits_nothing_is_refused_with_what_could_be_hit() -> None:
    with pytest.raises(NoTarget, match=r"nothing in workstation can be hit by disk-error; .* disk0"):
        schedule(SYSTEM, {Fault.DISK_ERROR: 1.0}, 1.0, 1, ("pong",))


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
        seen.injected(Injection(number, at, fault, target), 5, at)
    seen.event({"event": "started", "task": "a", "pid": 5}, 1.7)  # told late: it is the one that was hit
    seen.event({"event": "died", "task": "a", "pid": 5}, 1.8)
    assert not seen.seen
    seen.event({"event": "started", "task": "a", "pid": 6}, 2.0)
    assert (seen.seconds(Fault.KILL), seen.seconds(Fault.HANG)) == ([1.0], [0.5])
    assert seen.missing() == {"c": 1}


def test_a_start_that_nobody_told_of_is_seen_in_the_table_of_tasks() -> None:
    """A kernel that is killed tells nobody of what starts meanwhile."""
    seen = Recoveries()
    seen.injected(Injection(3, 1.0, Fault.KILL, "a"), 5, 1.0)
    row = {"name": "a", "thread": 0, "state": "RUNNING"}
    for other in ({"pid": 5, "state": "ENDING"}, {"pid": 0}, {"pid": 7, "state": "ENDING"}, {"name": "b", "pid": 7}):
        seen.looked([row | other], 1.1)
        assert seen.waits
    seen.looked([row | {"pid": 7, "thread": 1}], 1.1)  # a further thread may be called like the task
    assert seen.waits
    seen.looked([row | {"pid": 7}], 1.25)
    assert seen.seen == [Recovery(3, Fault.KILL, "a", 0.25)]
    assert not seen.waits
    seen.event({"event": "started", "task": "a", "pid": 8}, 48.0)  # its next life is the end of nothing
    assert len(seen.seen) == 1


def test_percentiles() -> None:
    assert [percentile([3, 1, 2, 4], share) for share in (0.25, 0.5, 0.99, 1.0)] == [1, 2, 4, 4]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--faults", "fire"], "fire is no fault; there are kill, hang"),
        (["--faults", ","], "nothing is no fault"),
        (["--targets", " ,"], "it names no task and no device"),
        (["--targets", "nobody"], "workstation has no nobody; there are "),
        (["--targets", "pong", "--faults", "net-loss"], "nothing in workstation can be hit by net-loss"),
        (["--rate", "0"], "0"),
        (["--faults", "kill=0"], "kill=0: a weight is a number above 0"),
        (["--faults", "kill=much"], "kill=much: a weight is a number above 0"),
        (["--name", "../one"], "Invalid value for '--name'"),
    ],
)
def test_bad_options_are_refused_with_what_would_work(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(main, ["chaos", "workstation", *arguments])
    assert result.exit_code != 0
    assert complaint in result.output


def test_the_report_is_plain(tmp_path: Path) -> None:
    outcome = Outcome(Plan({Fault.KILL: 1.0, Fault.NET_LOSS: 1.0}, 1.0, 5, 1.0), 0.0)
    outcome.recoveries.seen += [Recovery(number, Fault.KILL, "a", number / 1000) for number in (2, 4)]
    outcome.injected[Fault.KILL] = 2
    told = json.loads(json.dumps(outcome.plain()))
    assert told["faults"]["kill"] == {
        "injected": 2,
        "skipped": 0,
        "recovered": 2,
        "p50_ms": 2.0,
        "p99_ms": 4.0,
        "max_ms": 4.0,
        "spent": [[bucket(2000), 1], [bucket(4000), 1]],
    }
    assert told["faults"]["net-loss"] == {"injected": 0, "skipped": 0}
    assert told["ok"]
    outcome.missing = ["pong"]
    assert not outcome.ok


def outcome_of(system: System, *hit: str) -> Outcome:
    outcome = Outcome(Plan({Fault.BITFLIP: 1.0}, 1.0, 5, 1.0), 0.0, system.name)
    outcome.exposed = standing_on(system, hit)
    return outcome


def test_a_changed_bit_explains_what_stands_on_it_and_nothing_else() -> None:
    system = load(find("exercise")).system
    assert standing_on(system, ["littlefs"]) == {"littlefs", "store", "on-disk", "on-store", "shell"}
    assert standing_on(system, ["pong"]) == {"pong", "on-disk", "on-pong", "shell"}
    lost = Counts(attempts=2, wrong=2, lost=1)
    stands, apart = outcome_of(system, "littlefs"), outcome_of(system, "pong")
    for outcome in (stands, apart):
        outcome.workloads["on-store.store"] = lost
    assert (stands.ok, stands.damaged, stands.wrong, stands.data_lost) == (True, 2, 0, 0)
    assert (apart.ok, apart.damaged, apart.wrong, apart.data_lost) == (False, 0, 2, 1)


def test_a_workload_that_does_nothing_and_descriptors_that_leak_are_no_success() -> None:
    outcome = outcome_of(load(find("exercise")).system)
    outcome.descriptors = {"kernel": [100, 110]}
    assert outcome.ok
    outcome.stalled = ["on-disk.files"]
    assert not outcome.ok
    outcome.stalled, outcome.descriptors = [], {"kernel": [100, 1000]}
    assert not outcome.ok


def test_descriptors_that_the_host_hides_are_named_and_fail_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = outcome_of(load(find("exercise")).system)
    outcome.descriptors, outcome.hidden = {"monitor": [100, 110]}, ["kernel"]
    assert outcome.ok
    told = outcome.plain()
    assert (told["descriptors"], told["descriptors_hidden"]) == ({"monitor": [100, 110]}, ["kernel"])
    _show(outcome)
    assert "not looked at: open descriptors of kernel, which this host shows to root alone" in capsys.readouterr().out


def test_a_task_that_is_down_fails_the_run_and_what_its_policy_has_to_do_with_it_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcome = outcome_of(load(find("picture")).system)
    outcome.missing = ["painter"]
    assert not outcome.ok
    _show(outcome)
    told = capsys.readouterr().out
    assert "not running at the end: painter\nwho ends more often than its policy bears" in told


def test_a_kind_is_drawn_by_its_weight() -> None:
    drawn = Counter(each.fault for each in islice(schedule(SYSTEM, {Fault.KILL: 1, Fault.SLOW: 9}, 1.0, 1), 5000))
    assert drawn[Fault.SLOW] / 5000 == pytest.approx(0.9, abs=0.02)


def test_who_hung_for_all_of_the_time_went_on_by_itself() -> None:
    seen = Recoveries()
    seen.injected(Injection(0, 1.0, Fault.HANG, "a"), 5, 1.0)
    seen.injected(Injection(1, 9.0, Fault.KILL, "a"), 5, 9.0)
    seen.event({"event": "started", "task": "a", "pid": 6}, 9.5)
    assert [(each.fault, each.seconds) for each in seen.seen] == [(Fault.KILL, 0.5)]


def test_a_server_that_is_away_for_longer_than_its_policy_explains_fails_the_run() -> None:
    system = load(find("exercise")).system
    slow = Group("slow", ("block",), backoff_us=1_000_000, backoff_limit_us=30_000_000)
    other = structs.replace(system.groups[0], tasks=tuple(each for each in system.groups[0].tasks if each != "block"))
    outcome = Campaign(structs.replace(system, groups=(other, slow)), outcome_of(system).plan, Path()).outcome
    outcome.recoveries.seen += [Recovery(1, Fault.KILL, "pong", 3.0), Recovery(2, Fault.KILL, "block", 47.0)]
    assert outcome.ok
    outcome.recoveries.seen.append(Recovery(9, Fault.KILL, "pong", 47.0))
    assert not outcome.ok
    told = outcome.plain()
    assert told["late"] == [{"number": 9, "fault": "kill", "target": "pong", "ms": 47000.0}]
    assert [each["number"] for each in told["slowest"]] == [2, 9, 1]  # type: ignore[attr-defined]


def test_runs_are_added_on_one_page(tmp_path: Path) -> None:
    paths = []
    for seed, seconds in ((1, 0.002), (2, 0.5)):
        outcome = Outcome(Plan({Fault.KILL: 1.0}, 10.0, seed, 1.0), 0.0, "exercise")
        outcome.injected[Fault.KILL] = 1000
        outcome.recoveries.seen.append(Recovery(1, Fault.KILL, "pong", seconds))
        outcome.missing = ["pong"] if seed == 2 else []
        outcome.patience = {"pong": -20.0} if seed == 2 else {}
        paths.append(tmp_path / f"{seed}.json")
        paths[-1].write_text(json.dumps({"ok": outcome.ok, "result": outcome.plain()}))
    lines = page([read(path) for path in paths]).splitlines()
    assert "| exercise | 1 | 10 | 0 | 1,000 | nothing was wrong |" in lines
    assert "| exercise | 2 | 10 | 0 | 1,000 | pong does not run; pong was away for 0 s |" in lines
    assert "| faults injected | 2,000 |" in lines
    assert "| `kill` | 2,000 | 0 | 2 | 2.0 | 524.3 | 524.3 |" in lines


def test_a_run_that_is_behind_its_schedule_ends_by_its_time(tmp_path: Path) -> None:
    faults = {Fault.SLOW: 1.0}
    campaign = Campaign(SYSTEM, Plan(faults, 1000.0, 1, 5.0), tmp_path)
    campaign.outcome.started -= 6
    assert list(campaign._due(schedule(SYSTEM, faults, 1000.0, 1))) == []


def test_a_system_that_has_ended_is_asked_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a run would wait for each of its faults, and tell of faults that could not be done and nothing else."""
    monkeypatch.setenv("SEL4PY_RUNTIME_DIR", str(tmp_path / "run"))
    campaign = Campaign(SYSTEM, Plan({Fault.SLOW: 1.0}, 1.0, 1, 5.0), tmp_path / "run" / "gone")
    with Management(tmp_path / "run" / "gone", 0.01) as management, pytest.raises(Refused, match="ended by itself"):
        campaign._inject(Injector(management), Injection(1, 0.0, Fault.SLOW, "pong"))


def test_who_does_not_wait_for_an_orderly_end_leaves_no_system(
    systems: FakeSystems, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = systems.start("one")

    def interrupted(system: Running, seconds: float) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Management, "request", lambda self, op: None)
    monkeypatch.setattr("deploy.runtime.wait_ended", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _take_down("one")
    assert fake.process.wait(10) == -signal.SIGKILL
    assert running() == []


def test_a_run_begins_with_empty_disks_and_touches_no_other(tmp_path: Path) -> None:
    own = load(find("exercise"))
    assert own.host_parts["disk0"] == DiskFile("exercise.img", 16 << 20, False)
    image = tmp_path / "chaos" / "disk0.img"
    for _ in range(2):
        fresh, made = with_empty_disks(own, tmp_path / "chaos")
        assert made == [image]
        assert fresh.host_parts["disk0"] == DiskFile(str(image), 16 << 20, False)
        assert not image.exists()
        image.write_bytes(b"of this run")
    must_exist = replace(own, host_parts={"disk0": DiskFile("given.img", None, False)})
    assert with_empty_disks(must_exist, tmp_path / "chaos") == (must_exist, [])
