"""The kernel against its peers: calls, batches, task starts, revocation, idleness."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.booted import BootedSystem
from bench.report import Report
from bench.rounds import Goal, Series, interleave, ratio_goal

PAYLOAD = (1, 2, 3, 4)
SETTLING_SECONDS = 5.0
TAKES = 3  # of what has no rounds: what is so is so each time, and what else the host did is not
AHEAD, IMAGE_NAME = "sel4py-ahead", "nothing"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. ``calls`` a round; ``revoked`` capabilities, smallest and largest."""

    rounds: int
    calls: int
    starts: int
    crowd: int
    revoked: tuple[int, ...]
    idle_seconds: float


FULL = Sizes(rounds=9, calls=5000, starts=20, crowd=1000, revoked=(25_000, 50_000, 100_000), idle_seconds=5.0)
QUICK = Sizes(rounds=5, calls=1000, starts=5, crowd=100, revoked=(5_000, 10_000, 20_000), idle_seconds=2.0)


def run(sizes: Sizes, progress: Callable[[str], None]) -> Report:
    """All measurements: every series, and what became of the goals."""
    with BootedSystem() as system, _pipe_echo() as pipe:
        progress("calls, batches, starts: interleaved rounds")
        series = interleave(_contenders(system, pipe, sizes), sizes.rounds)
        goals = _ratios(series)
        progress(f"{sizes.crowd} tasks at once")
        goals += _crowd(system, sizes.crowd)
        progress("revocation")
        goals += _revocation(system, sizes.revoked)
        progress(f"{sizes.idle_seconds:g} s of doing nothing")
        goals.append(_idle(system, sizes.idle_seconds))
    return Report(list(series.values()), goals)


def _contenders(
    system: BootedSystem, pipe: multiprocessing.connection.Connection, sizes: Sizes
) -> dict[str, Callable[[], float]]:
    def order(text: str) -> Callable[[], float]:
        return lambda: system.order(text)["seconds"]

    def pipe_round() -> float:
        start = time.perf_counter()
        for _ in range(sizes.calls):
            pipe.send(PAYLOAD)
            pipe.recv()
        return (time.perf_counter() - start) / sizes.calls

    def python(*options: str) -> Callable[[], float]:
        def python_round() -> float:
            start = time.perf_counter()
            for _ in range(sizes.starts):
                subprocess.run([sys.executable, *options, "-c", "pass"], check=True)
            return (time.perf_counter() - start) / sizes.starts

        return python_round

    return {
        "call through the kernel": order(f"call {sizes.calls}"),
        "multiprocessing.Pipe": pipe_round,
        "64 single invocations": order(f"single {max(sizes.calls // 64, 1)}"),
        "batch of 64 invocations": order(f"batch {max(sizes.calls // 64, 1)}"),
        "64 single slow ones": order(f"slow-single {max(sizes.calls // 640, 1)}"),
        "batch of 64 slow ones": order(f"slow-batch {max(sizes.calls // 640, 1)}"),
        "task start": order(f"start {sizes.starts}"),
        "python -c pass": python(),
        "python -I -S -c pass": python("-I", "-S"),
    }


def _ratios(series: dict[str, Series]) -> list[Goal]:
    call, pipe = series["call through the kernel"], series["multiprocessing.Pipe"]
    single, batch = series["64 single invocations"], series["batch of 64 invocations"]
    slow_single, slow_batch = series["64 single slow ones"], series["batch of 64 slow ones"]
    start, python, bare = series["task start"], series["python -c pass"], series["python -I -S -c pass"]
    return [
        ratio_goal("kernel-mediated Call round trip, as fast as Pipe", call, pipe, 1.0, faster=True),
        ratio_goal("a batch of 64 against 64 single invocations", batch, single, 5.0, faster=True, decides=False),
        ratio_goal("the same by the slow path (Frame.get_address)", slow_batch, slow_single, 0.0, faster=True),
        ratio_goal("task start and end against python -c pass", start, python, 5.0, faster=True),
        ratio_goal("the same against python -I -S -c pass", start, bare, 0.0, faster=True),
    ]


def _crowd(system: BootedSystem, count: int) -> list[Goal]:
    """Start and end many tasks, again and again: what is there after the first time must be there after the others."""
    found: dict[str, list[float]] = {}
    free, before = system.order(f"crowd {count}")["free"], _counts(system)
    for _ in range(TAKES):
        answer, after = system.order(f"crowd {count}"), _counts(system)
        leaked = {"processes": after[0] - before[0], "bytes of untyped memory": free - answer["free"]}
        if before[1] is not None and after[1] is not None:
            leaked["descriptors"] = after[1] - before[1]
        for what, number in leaked.items():
            found.setdefault(what, []).append(float(number))
        free, before = answer["free"], after
    return [
        Goal(f"{what} left by {count} tasks", statistics.median(each), min(each), 0.0, at_most=True, unit="")
        for what, each in found.items()
    ]


def _counts(system: BootedSystem) -> tuple[int, int | None]:
    """Processes and descriptors, once the host has taken those of the crowd down, and one waits for the next task."""
    end = time.monotonic() + SETTLING_SECONDS
    while time.monotonic() < end:
        names = system.names()
        if AHEAD in names and IMAGE_NAME not in names:
            break
    return len(system.processes()), system.descriptors()


def _revocation(system: BootedSystem, counts: tuple[int, ...]) -> list[Goal]:
    growths, waits, last = [], [], []
    for _ in range(TAKES):
        each = []
        for count in counts:
            answer = system.order(f"revoke {count}")
            each.append(answer["seconds"] / count)
            waits.append(answer["longest_wait"] * 1e3)
        growths.append(each[-1] / each[0])
        last.append(each[-1] * 1e6)
    growth, one = statistics.median(growths), statistics.median(last)
    wait, revoke = "another task's longest wait meanwhile", "revoke of one capability"
    return [
        Goal(
            f"revoke of {counts[-1]}: time a capability, against {counts[0]}", growth, min(growths), 1.5, at_most=True
        ),
        Goal(wait, max(waits), min(waits), 5.0, at_most=True, unit="ms", decides=False),
        Goal(revoke, one, min(last), float("inf"), at_most=True, unit="us"),
    ]


def _idle(system: BootedSystem, seconds: float) -> Goal:
    used = []
    for _ in range(TAKES):
        system.order("call 1")
        before, start = system.processor_seconds(), time.monotonic()
        time.sleep(seconds)
        used.append((system.processor_seconds() - before) / (time.monotonic() - start) * 100)
    name = "an idle system's share of one processor"
    return Goal(name, statistics.median(used), min(used), 1.0, at_most=True, unit="%")


def _echo(connection: multiprocessing.connection.Connection) -> None:
    while (message := connection.recv()) is not None:
        connection.send(message)


@contextmanager
def _pipe_echo() -> Iterator[multiprocessing.connection.Connection]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_echo, args=(theirs,))
    process.start()
    try:
        yield ours
    finally:
        ours.send(None)
        process.join()
        theirs.close()
        ours.close()
