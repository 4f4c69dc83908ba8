"""Many faults: nothing is wrong that must not be, nothing is lost, all runs at the end, nothing leaks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.system.supervisor import Supervisor

SECONDS = 400.0  # a command that takes longer hangs

# Of all nine kinds. Cheap ones are many, those that cost a life are few: a recovery takes what it takes. Bits of all
# servers change, so all clients are exposed, and what must hold is the kernel, and that all goes on.
ALL = "corrupt-message=40,bitflip=20,slow=2,net-loss=2,drop-irq=2,disk-error=2,kill=0.3,hang=0.05,kill-kernel=0.05"
# No fault of these may make an answer wrong, or lose what was acknowledged.
DEATHS = "kill=6,hang=1,slow=6,disk-error=3,net-loss=3,drop-irq=3,kill-kernel=1"

LOOKS = 100  # at what was acknowledged: with fewer a loss could be overlooked


def campaign(sel4py: Supervisor, faults: str, rate: int, count: int, seed: int) -> dict[str, Any]:
    done = sel4py.run(
        *("chaos", "exercise", "--json", "--faults", faults),
        *("--rate", str(rate), "--count", str(count), "--seed", str(seed)),
        seconds=SECONDS,
    )
    assert done.status == 0, done.output
    told: dict[str, Any] = json.loads(done.output)["result"]
    assert told["injected"] == count
    assert told["violations"] == told["missing"] == told["stalled"] == []
    assert told["wrong"] == told["data_lost"] == 0
    assert told["kept_checks"] > LOOKS
    assert len(told["disks"]) == 1
    assert sel4py.rows("systems") == []
    return told


@pytest.mark.slow
def test_deaths_hangs_and_failing_devices_lose_nothing(sel4py: Supervisor) -> None:
    told = campaign(sel4py, DEATHS, 20, 500, 2)
    assert told["exposed"] == []
    assert told["damaged"] == 0


@pytest.mark.slow
@pytest.mark.timeout(500)  # where the host has much else to do; 40 s where not
def test_twenty_thousand_faults_of_all_kinds_stop_nothing(sel4py: Supervisor) -> None:
    told = campaign(sel4py, ALL, 1000, 20_000, 1)
    assert all(each["injected"] for each in told["faults"].values())


@pytest.mark.long
@pytest.mark.timeout(0)
def test_a_million_faults_of_all_kinds_stop_nothing(sel4py: Supervisor) -> None:
    """In slices, each with a seed of its own."""
    for seed in range(1, 51):
        campaign(sel4py, ALL, 1000, 20_000, seed)
