"""``python -m bench storm``: what moves while a server is killed once, ten and a hundred times a second, against none.

Nothing is left out: what is copied is synced and read back within the time, and what is got is hashed; a difference
ends the run with an error.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench.booted import SYSTEMS, BootedSystem
from bench.report import Report
from bench.rounds import Series, interleave, ratio_goal
from bench.storm.getting import Getting
from bench.storm.killer import Killer
from libsel4py.files.mount import MOST_TRIES

ROOT = Path(__file__).parents[2]
MEBIBYTE = 1 << 20
PAGE, PAGE_BYTES = "page", 8 << 20
CLIENTS = 4
FILES, PAGES = "a MiB copied, synced and read back", "a MiB of pages got"
KILLED = {FILES: "littlefs", PAGES: "network"}
BOUNDS = {1: 1.01, 10: 1.05, 100: 2.0}  # by kills a second: how many times as long a MiB may take


@dataclass(frozen=True, slots=True)
class Sizes:
    """``seconds`` of each of the eight turns of a round."""

    rounds: int
    seconds: float


FULL = Sizes(rounds=7, seconds=6.0)
QUICK = Sizes(rounds=2, seconds=3.0)


def run(sizes: Sizes, progress: Callable[[str], None]) -> Report:
    """All turns, and what became of the goals."""
    progress("starting the system")
    with tempfile.TemporaryDirectory(prefix="sel4py-bench-storm-") as folder:
        path = Path(folder) / "storm.toml"
        text = (SYSTEMS / "storm.toml").read_text()
        path.write_text(text.replace("[system]", f'[system]\npaths = ["{ROOT}"]', 1))
        with BootedSystem(path) as system:
            storm = Storm(system, sizes.seconds)
            progress(f"{sizes.rounds} interleaved rounds of {len(KILLED) * (len(BOUNDS) + 1)} turns")
            series = interleave({_name(*key): storm.turn(*key) for key in _turns()}, sizes.rounds)
    return _report(series, storm)


class Storm:
    """The system, and how often what was killed in it."""

    def __init__(self, system: BootedSystem, seconds: float) -> None:
        self.kills: Counter[tuple[str, int]] = Counter()
        self.failed = 0
        self.spent: Counter[tuple[str, int]] = Counter()
        self._system, self._seconds = system, seconds
        self._seeds = count()
        digest = str(system.order(f"page {PAGE} {PAGE_BYTES}")["sha256"])
        found = re.search(r"127\.0\.0\.1:(\d+)", str(system.devices()))
        assert found is not None  # the description forwards one
        self._getting = Getting(int(found[1]), f"/{PAGE}", PAGE_BYTES, digest, CLIENTS)

    def turn(self, what: str, rate: int) -> Callable[[], float]:
        """Moves for some seconds under so many kills a second, and returns the seconds of a MiB."""

        def timed() -> float:
            with Killer(self._system.folder, KILLED[what], rate, self._seconds, next(self._seeds)) as killer:
                moved, seconds = self._copy() if what == FILES else self._getting.get(self._seconds)
            self.kills[what, rate] += killer.kills
            self.spent[what, rate] += round(seconds)
            return seconds * MEBIBYTE / max(moved, 1)

        return timed

    def _copy(self) -> tuple[int, float]:
        found = self._system.order(f"copy {self._seconds}")
        self.failed += int(found["failed"])
        return int(found["bytes"]), float(found["seconds"])


def _turns() -> list[tuple[str, int]]:
    return [(what, rate) for what in KILLED for rate in (0, *BOUNDS)]


def _name(what: str, rate: int) -> str:
    return f"{what}, {rate} kills a second" if rate else f"{what}, no kills"


def _report(series: dict[str, Series], storm: Storm) -> Report:
    goals = [
        ratio_goal(
            f"{_name(what, rate)} of {task}, against none",
            series[_name(what, rate)],
            series[_name(what, 0)],
            bound,
            faster=False,
            decides=False,
        )
        for what, task in KILLED.items()
        for rate, bound in BOUNDS.items()
    ]
    facts = [
        f"{KILLED[what]}, {rate} orders a second: {storm.kills[what, rate]} kills in {storm.spent[what, rate]} s"
        for what, rate in _turns()
        if rate
    ]
    facts.append(f"{storm.failed} copies were given up, after {MOST_TRIES} servers had died with one call of them")
    return Report(list(series.values()), goals, facts=facts)
