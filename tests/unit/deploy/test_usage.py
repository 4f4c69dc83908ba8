"""What processes use between two looks: shares of one processor, of whom, and what began meanwhile."""

from __future__ import annotations

import pytest

from deploy.usage import Kernel, Look, Thread, between
from tests.unit.deploy.conftest import FakeSystems
from tests.unit.deploy.test_cli import answer, sel4py

KERNEL = Kernel(7, 5_000_000, 900_000, 1000, 100, 0)


def thread(name: str, pid: int, cpu_us: int, number: int = 0, restarts: int = 0) -> Thread:
    return Thread(name, number, pid, "RUNNING", cpu_us, restarts)


def test_shares_are_of_one_processor_and_of_a_process_with_all_its_threads() -> None:
    first = Look(10.0, KERNEL, [thread("pong", 3, 1000), thread("ping", 2, 500_000), thread("ping.1", 2, 500_000, 1)])
    last = Look(
        12.0,
        Kernel(7, 7_000_000, 1_000_000, 1500, 130, 0),
        [thread("pong", 3, 1000), thread("ping.1", 2, 3_500_000, 1), thread("ping", 2, 3_500_000)],
    )
    usage = between(first, last)
    assert [(each.task, each.percent, each.threads, each.pid) for each in usage.tasks] == [
        ("ping", 150.0, 2, 2),
        ("pong", 0.0, 1, 3),
    ]
    assert (usage.seconds, usage.uptime_us, usage.tasks_percent, usage.kernel_percent) == (2.0, 7_000_000, 150.0, 5.0)
    assert (usage.system_calls, usage.doorbells) == (250.0, 15.0)


def test_who_was_not_there_before_has_used_all_its_time_since() -> None:
    first = Look(1.0, KERNEL, [thread("pong", 3, 900_000)])
    last = Look(2.0, KERNEL, [thread("pong", 4, 100_000, restarts=1), thread("new", 5, 50_000)])
    assert [(each.task, each.percent) for each in between(first, last).tasks] == [("pong", 10.0), ("new", 5.0)]


def test_a_kernel_that_was_started_again_counts_anew() -> None:
    usage = between(Look(1.0, KERNEL, []), Look(2.0, Kernel(8, 6_000_000, 20_000, 30, 4, 1), []))
    assert (usage.kernel_percent, usage.system_calls, usage.doorbells, usage.kernel_restarts) == (2.0, 30.0, 4.0, 1)


def test_who_has_ended_since_it_was_listed_has_used_nothing_less_than_nothing() -> None:
    first = Look(1.0, KERNEL, [thread("pong", 3, 900_000), thread("gone", 0, 0)])
    last = Look(2.0, KERNEL, [thread("pong", 3, 0), thread("gone", 0, 0)])
    assert [(each.task, each.percent) for each in between(first, last).tasks] == [("pong", 0.0)]


@pytest.mark.parametrize("seconds", [1.0, 0.5])
def test_looks_are_some_time_apart(seconds: float) -> None:
    with pytest.raises(ValueError, match="it takes two, the earlier one first"):
        between(Look(1.0, KERNEL, []), Look(seconds, KERNEL, []))


def test_an_answer_that_cannot_be_read_is_told_of(systems: FakeSystems) -> None:
    systems.start("one")
    assert answer(sel4py("top", "--json"))["ok"] is False
    told = sel4py("top")
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr.startswith("sel4py: its kernel's answer cannot be read")


@pytest.mark.parametrize("option", [("--interval", "0"), ("--interval", "nan"), ("--count", "0")])
def test_looks_that_cannot_be_are_refused(option: tuple[str, str]) -> None:
    assert sel4py("top", *option).exit_code == 2
