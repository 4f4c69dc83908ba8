"""Faults on order: each does what it says, and `sel4py chaos` tells what became of them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.management import Management, Refused
from tests.system.supervisor import SECONDS, Supervisor

NAME = "exercise"


@pytest.fixture
def exercise(sel4py: Supervisor) -> Iterator[Management]:
    """A system that exercises itself. The test ends it."""
    sel4py.ok("up", NAME, "--detach")
    with Management(sel4py.folder / NAME) as management:
        yield management
    assert sel4py.ok("down") == f"{NAME} has ended\n"


def counts(management: Management, task: str, name: str) -> dict[str, int]:
    """The latest counts of a workload, once it has told another time."""
    from deploy.chaos.workloads import TaskWorkloads

    reader = TaskWorkloads(management.folder / "logs")
    before = found = reader.counts().get(f"{task}.{name}")
    until = time.monotonic() + 20
    for _ in management.events(0.1):
        found = reader.counts().get(f"{task}.{name}")
        if found is not None and (before is None or found.attempts > before.attempts):
            break
        assert time.monotonic() < until, f"{task} does not tell its counts"
    assert found is not None
    return {"attempts": found.attempts, "failed": found.failed, "wrong": found.wrong}


def test_a_task_that_hangs_goes_on_later_and_one_that_is_slow_goes_on(exercise: Management) -> None:
    first = counts(exercise, "on-pong", "pong")
    for fault, milliseconds in (("hang", 300), ("slow", 300)):
        hit = exercise.request("inject", fault=fault, task="pong", ms=milliseconds)
        assert isinstance(hit, dict)
        rows = exercise.request("ps")
        assert isinstance(rows, list)
        assert [row["pid"] for row in rows if row["name"] == "pong"] == [hit["pid"]]
        later = counts(exercise, "on-pong", "pong")
        assert later["attempts"] > first["attempts"]
        assert later["failed"] == later["wrong"] == 0
        first = later


def test_a_disk_that_fails_is_an_error_of_its_clients_alone(exercise: Management) -> None:
    counts(exercise, "on-disk", "files")
    exercise.request("inject", fault="disk-error", device="disk0", count=200)  # more than its driver tries
    until = time.monotonic() + 20
    while not (seen := counts(exercise, "on-disk", "files"))["failed"]:
        assert time.monotonic() < until, "no client was told"
    assert not seen["wrong"]
    assert counts(exercise, "on-pong", "pong")["failed"] == 0
    assert exercise.request("fsck") == []


REFUSALS = (
    ({"fault": "fire"}, "inject takes 'fault', one of hang, slow"),
    ({"fault": "hang", "task": "nobody", "ms": 1}, "no task that runs is called 'nobody'; there are block"),
    ({"fault": "hang", "task": "pong", "ms": 0}, "takes 'ms', a whole number from 1 to"),
    ({"fault": "disk-error", "device": "tape", "count": 1}, "no device is called 'tape'; there are uart0, disk0, net0"),
    ({"fault": "net-loss", "device": "disk0", "count": 1}, "disk0 is no network interface"),
    ({"fault": "corrupt-message", "task": "pong", "bit": True}, "takes 'bit', a whole number from 0 to"),
)


def test_what_cannot_be_done_is_refused(exercise: Management) -> None:
    """And so is a device's fault before the last one was met."""
    for refused, complaint in REFUSALS:
        with pytest.raises(Refused, match=complaint):
            exercise.request("inject", **refused)
    order: dict[str, object] = {"fault": "drop-irq", "device": "uart0", "count": 1}  # nobody types
    exercise.request("inject", **order)
    with pytest.raises(Refused, match="uart0 has yet to meet 1 of the last drop-irq"):
        exercise.request("inject", **order)


def test_a_run_is_told_for_programs_and_leaves_nothing(sel4py: Supervisor, tmp_path: Path) -> None:
    done = sel4py.run(
        *("chaos", NAME, "--json", "--faults", "kill,slow,hang", "--targets", "pong,names", "--seed", "7"),
        # For as long as workloads take to begin, on a busy host too: what was acknowledged is looked at later.
        *("--rate", "2", "--count", "12", "--workload", "true"),
    )
    assert done.status == 0, done.output
    told = json.loads(done.output)["result"]
    assert told["ok"]
    assert told["seed"] == 7
    assert told["injected"] == 12
    assert told["requests_repeated"] == sum(each["repeated"] for each in told["workloads"].values())
    assert told["wrong"] == told["data_lost"] == 0
    assert told["faults"]["kill"]["recovered"] == told["faults"]["kill"]["injected"] > 0
    assert told["workloads"]["on-pong.pong"]["wrong"] == 0
    assert told["host_workload"]["failed"] == 0 < told["host_workload"]["runs"]
    assert told["violations"] == told["missing"] == []
    assert told["disks"] == [str(Path(sel4py.environment["SEL4PY_STATE_DIR"]) / NAME / "chaos" / "disk0.img")]
    assert told["checks"] > told["kept_checks"] > 0
    assert told["descriptors"].keys() | set(told["descriptors_hidden"]) == {"kernel", "monitor"}
    assert not told["descriptors_hidden"] or os.getuid() != 0
    assert sel4py.rows("systems") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_by_a_signal_leaves_no_system(number: signal.Signals, sel4py: Supervisor) -> None:
    process = sel4py.start("chaos", NAME, "--targets", "pong", "--faults", "slow", "--rate", "1")
    with Management(sel4py.folder / NAME, SECONDS) as management:  # which is only starting
        management.request("status")
    process.send_signal(number)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + number
    assert sel4py.rows("systems") == []
