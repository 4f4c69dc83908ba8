"""``python -m bench recovery``: how long a client is without its server when that is killed; against a new Python.

The client calls without a pause; what counts is the time from the last good reply of one life to the first of the next.
A kill is a SIGKILL at a random moment, of a server that has come to hold 0, 64 or 256 MiB; the next life is started, or
a process that stood by goes on (the kill waits until one does). Nobody polls to notice: the client waits in its call,
or makes the next one when it hears that the request was lost.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final

from bench.booted import SYSTEMS, BootedSystem
from bench.report import Report
from bench.rounds import Goal, Series, interleave, ratio_goal

PYTHON: Final = "Python by fork and exec killed, the next one answers"
LIFE_SECONDS = (0.005, 0.015)  # the client has called for a while
SEED = 1
MEGABYTES: Final = (0, 64, 256)
MEDIAN: Final = {"cold": 3.0, "warm": 1.0}  # goals, in milliseconds
TAIL: Final = {"cold": 10.0, "warm": 3.0}
STANDBY: Final = "warm.standby"
STANDS_BY: Final = "BLOCKED_ON_NOTIFICATION"
_TITLES: Final = {"cold": "server killed, the next is started", "warm": "server killed, what stood by goes on"}
_SERVER = "import sys\nfor line in sys.stdin:\n    print(line, end='', flush=True)"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many kills of each."""

    rounds: int


FULL, QUICK = Sizes(rounds=200), Sizes(rounds=20)


class Killed:
    """The booted system, and what kills its servers."""

    def __init__(self) -> None:
        self.system = BootedSystem(SYSTEMS / "recovery.toml")
        self.lost = 0
        self._random = random.Random(SEED)

    def gap(self, kind: str, megabytes: int) -> float:
        """Seconds without a server, of one kill."""
        order = f"gap {kind} {megabytes << 20}"
        while kind == "warm" and self.system.states().get(STANDBY) != STANDS_BY:
            continue
        self.system.order(order)
        victim = os.pidfd_open(self.system.tasks()[kind])
        try:
            time.sleep(self._random.uniform(*LIFE_SECONDS))
            signal.pidfd_send_signal(victim, signal.SIGKILL)
            found = self.system.answer(order)
        finally:
            os.close(victim)
        self.lost += found["died"]
        return float(found["gap"])

    def __enter__(self) -> Killed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.system.__exit__(kind, error, trace)


def python_gap() -> float:
    """The same of a server that a client starts anew by itself, over pipes, as soon as the pipe ends."""
    first = _start()
    _ask(first)
    last = time.perf_counter()
    first.kill()
    assert _ask(first) == ""
    second = _start()
    _ask(second)
    took = time.perf_counter() - last
    second.kill()
    for process in (first, second):
        process.communicate()
    return took


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("x\n")
        process.stdin.flush()
    except BrokenPipeError:
        return ""
    return process.stdout.readline()


def run(sizes: Sizes, progress: Callable[[str], None]) -> Report:
    """All kills, and what became of the goals."""
    progress("starting the system")
    with Killed() as killed:
        rows = {
            f"{title}, {megabytes} MiB": (kind, megabytes) for kind, title in _TITLES.items() for megabytes in MEGABYTES
        }
        contenders = {name: partial(killed.gap, *row) for name, row in rows.items()}
        progress(f"{sizes.rounds} kills of each")
        series = interleave(contenders | {PYTHON: python_gap}, sizes.rounds)
    goals = [goal for name, (kind, _) in rows.items() for goal in _goals(kind, series[name], series[PYTHON])]
    fact = (
        f"of {sizes.rounds * len(rows)} kills {killed.lost} met a request that had been taken: it ended in ServerDied"
    )
    return Report(list(series.values()), goals, facts=[fact])


def _goals(kind: str, ours: Series, python: Series) -> list[Goal]:
    milliseconds = [value * 1e3 for value in ours.values]
    tail, best = statistics.quantiles(milliseconds, n=100)[98], min(milliseconds)
    return [
        ratio_goal(f"{ours.name}, against {PYTHON}", ours, python, 1.0, faster=True, decides=False),
        Goal(f"{ours.name}: median", statistics.median(milliseconds), best, MEDIAN[kind], True, "ms", decides=False),
        Goal(f"{ours.name}: 99 %", tail, best, TAIL[kind], True, "ms", decides=False),
    ]
