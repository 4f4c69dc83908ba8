"""``python -m bench recovery``: how long a client is without its server when that is killed; against a new Python.

The client calls without a pause; what counts is the time from the last good reply of one life to the first of the next.
A kill is a SIGKILL at a random moment. Nobody polls: the client waits in its call, or makes the next one when it hears
that the request was lost.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from bench.booted import SYSTEMS, BootedSystem
from bench.report import Report
from bench.rounds import Goal, interleave, ratio_goal

OURS, PYTHON = "server killed, its successor answers", "Python by fork and exec killed, the next one answers"
LIFE_SECONDS = (0.005, 0.015)  # from the order to the kill: the client has called for a while
SEED = 1
MEDIAN_MS, TAIL_MS = 3.0, 10.0
_SERVER = "import sys\nfor line in sys.stdin:\n    print(line, end='', flush=True)"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many kills."""

    rounds: int


FULL, QUICK = Sizes(rounds=200), Sizes(rounds=30)


class Killed:
    """The booted system, and what kills its server."""

    def __init__(self) -> None:
        self.system = BootedSystem(SYSTEMS / "recovery.toml")
        self.system.order("gap 0")
        self.lost = 0
        self._random = random.Random(SEED)

    def gap(self) -> float:
        """Seconds without a server, of one kill."""
        victim = os.pidfd_open(self.system.tasks()["mortal"])
        try:
            timer = threading.Timer(
                self._random.uniform(*LIFE_SECONDS), signal.pidfd_send_signal, (victim, signal.SIGKILL)
            )
            timer.start()
            found = self.system.order("gap 1")
            timer.join()
        finally:
            os.close(victim)
        self.lost += found["died"]
        return float(found["gaps"][0])

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
        progress(f"{sizes.rounds} kills")
        series = interleave({OURS: killed.gap, PYTHON: python_gap}, sizes.rounds)
    ours = series[OURS]
    milliseconds = [value * 1e3 for value in ours.values]
    tail = statistics.quantiles(milliseconds, n=100)[98]
    goals = [
        ratio_goal(f"{OURS}, against {PYTHON}", ours, series[PYTHON], 1.0, faster=True, decides=False),
        Goal("median", statistics.median(milliseconds), min(milliseconds), MEDIAN_MS, True, "ms", decides=False),
        Goal("99 % of kills", tail, min(milliseconds), TAIL_MS, True, "ms", decides=False),
    ]
    fact = f"of {sizes.rounds} kills {killed.lost} met a request that had been taken: it ended in ServerDied"
    return Report(list(series.values()), goals, facts=[fact])
