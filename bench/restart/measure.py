"""``python -m bench restart``: `kill -9` of the kernel under full load; against a new Python.

The workstation works at all that it has: pages are fetched from outside, lines typed, files written and synchronised,
one pair calls through the kernel and one by channel. The kernel is killed at random moments. What counts is what tasks
feel: the longest time without a call through the kernel behind a kill, and what the pair with a channel did meanwhile.
"""

from __future__ import annotations

import os
import random
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import Report
from bench.restart.gaps import Calls, longest_gap
from bench.restart.loaded import Loaded
from bench.rounds import Goal, Series

SEED = 1
APART_S = (0.15, 0.35)  # from one kill to the next
LONGEST_MS = 150  # a time without calls that begins later than this is not the kill's
STARTING_S = 6.0  # until the load is at work
GRAPHS = 10  # of so many kills one is of a kernel that was stopped, so that the capability graph can be taken before
TAIL_MS = 50.0
NO_END = float("inf")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many kills."""

    kills: int


FULL, QUICK = Sizes(kills=300), Sizes(kills=40)


@dataclass(frozen=True, slots=True)
class Kill:
    """When, and how long the next kernel took from the monitor's noticing until it served; and the capability graph
    before and after, where it was taken."""

    at_ns: int
    recovery_us: int
    graph: str = ""
    taken_over: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of all kills."""

    kills: list[Kill]
    told: dict[str, dict[str, Any]]
    pages: int
    lines: int
    garbled: int
    resets: int
    wrong: list[str]
    restarts: int

    def calls(self, name: str) -> Calls:
        return Calls(self.told[name]["begun_ns"], self.told[name]["calls"])

    def outages(self) -> list[tuple[int, int]]:
        """Of kills of running kernels, as the pair through the kernel felt them: `Calls.outage`."""
        calls = self.calls("by_kernel")
        found = [calls.outage(kill.at_ns, LONGEST_MS) for kill in self.kills if not kill.graph]
        return [each for each in found if each is not None]

    def problems(self) -> list[str]:
        """What should not be. Empty: no message was lost or served twice, and nobody read a wrong byte."""
        found = list(self.wrong)
        for name, told in self.told.items():
            if told["wrong"]:
                found.append(f"{name}: {told['wrong']} wrong")
        found += [
            f"the graph changed at kill {at}" for at, kill in enumerate(self.kills) if kill.graph != kill.taken_over
        ]
        if self.restarts != len(self.kills):
            found.append(f"{len(self.kills)} kills and {self.restarts} restarts")
        if self.told["by_kernel"]["by_channel"] or not self.told["by_channel"]["by_channel"]:
            found.append("the pairs did not call as they should")
        return found


def kill_under_load(kills: int, seed: int, progress: Callable[[str], None]) -> Found:
    """Boot, load, kill so many times, and hear what everybody has to say."""
    rng = random.Random(seed)
    done: list[Kill] = []
    seconds = STARTING_S + kills * (sum(APART_S) / 2 + 0.1)
    with Loaded(seconds) as loaded:
        loaded.start()
        progress(f"{kills} kills under load, {seconds:.0f} s")
        end = time.monotonic() + seconds - 1
        can_look = os.geteuid() == 0
        watched = select.poll()
        while len(done) < kills and time.monotonic() < end:
            watched.poll(1000 * rng.uniform(*APART_S))  # of nothing: what is waited for is the moment
            stopped = can_look and len(done) % GRAPHS == GRAPHS - 1
            at, graph = loaded.kill(stopped=stopped)
            status = loaded.status()
            while status["kernel_restarts"] == len(done):
                status = loaded.status()
            done.append(Kill(at, status["recovery_us"], graph, status["capabilities"] if graph else ""))
        told = loaded.told()
        loaded.stop()
        restarts = loaded.status()["kernel_restarts"]
        return Found(done, told, loaded.pages, loaded.lines, len(loaded.garbled), loaded.resets, loaded.wrong, restarts)


def python_start() -> float:
    """Seconds that a Python needs to start, load what the kernel loads of others, and say a word."""
    begun = time.perf_counter()
    code = "import uvloop, msgpack, zmq; print(1, flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return time.perf_counter() - begun


def quantile(values: Sequence[float], part: int) -> float:
    """Of a hundred."""
    return statistics.quantiles(values, n=100, method="inclusive")[part - 1]


def run(sizes: Sizes, progress: Callable[[str], None]) -> Report:
    """All kills, and what became of the goals. Raises RuntimeError if anything was lost, served twice, or wrong."""
    progress("starting the system")
    found = kill_under_load(sizes.kills, SEED, progress)
    if problems := found.problems():
        raise RuntimeError("; ".join(problems))
    outages = found.outages()
    ms = [float(end - first) for first, end in outages]
    through, by_channel = found.calls("by_kernel"), found.calls("by_channel")
    meanwhile = [by_channel.between(first, end, through) for first, end in outages]
    gaps = [float(longest_gap(each)) for each in meanwhile]
    during = sum(map(sum, meanwhile)) / max(1, sum(map(len, meanwhile)))
    always = sum(by_channel.counts) / len(by_channel.counts)
    taken = [kill.recovery_us / 1e3 for kill in found.kills]
    goals = [
        Goal("away, 99 % of kills", quantile(ms, 99), min(ms), TAIL_MS, True, "ms", decides=False),
        Goal("of that, from noticing to serving, 99 %", quantile(taken, 99), min(taken), NO_END, True, "ms"),
        Goal("of that, from noticing to serving, median", statistics.median(taken), min(taken), NO_END, True, "ms"),
        Goal("away, median", statistics.median(ms), min(ms), NO_END, True, "ms"),
        Goal(
            "longest pause of the channel's pair meanwhile, median",
            statistics.median(gaps),
            min(gaps),
            NO_END,
            True,
            "ms",
        ),
        Goal(
            "calls by channel meanwhile, of those at other times",
            during / always,
            during / always,
            0.5,
            False,
            "times",
            False,
        ),
    ]
    graphs = sum(bool(kill.graph) for kill in found.kills)
    facts = [
        f"{len(found.kills)} kills; {graphs} capability graphs were the same before and after; "
        f"{sum(through.counts)} calls through the kernel and {sum(by_channel.counts)} by channel, each served once; "
        f"{found.told['writer']['written'] >> 10} KiB synchronised, {found.pages} pages, "
        f"{found.resets} connections that were reset and made again, {found.lines} lines typed, "
        f"{found.garbled} of them answered with bytes that were lost or came twice"
    ]
    peers = [python_start() for _ in range(5)]
    series = [
        Series("kernel killed under full load, calls through it go on", tuple(each / 1e3 for each in ms)),
        Series("a Python that loads what the kernel imports starts", tuple(peers)),
    ]
    return Report(series, goals, facts=facts)
