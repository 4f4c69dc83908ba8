"""``python -m bench [--quick] [--json FILE]``: measure, and say which goals hold.

Exit status 1 only where even the best round is past twice a goal, so that noise never decides.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import kernel
from bench.rounds import Goal, Series


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.2f} us"


def _series_table(series: list[Series]) -> Table:
    table = Table("what", "median", "best", "spread", title="time of one operation")
    for each in series:
        table.add_row(each.name, _time(each.median), _time(each.best), f"{each.spread:.2f}")
    return table


def _goals_table(goals: list[Goal]) -> Table:
    table = Table("goal", "value", "bound", "holds", title="goals")
    for goal in goals:
        sign = "at most" if goal.at_most else "at least"
        bound = f"{sign} {goal.bound:g}" if goal.is_bounded else "stated"
        holds = ("yes" if goal.holds else "NO") if goal.is_bounded else ""
        table.add_row(goal.name, f"{goal.value:.3g} {goal.unit}", bound, holds)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks, each against its peers.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    errors = Console(stderr=True)
    series, goals = kernel.run(
        kernel.QUICK if options.quick else kernel.FULL, lambda text: errors.print(f"measuring: {text} …")
    )
    console = Console()
    console.print(_series_table(series))
    console.print(_goals_table(goals))
    if options.json:
        report = {
            "series": [{"name": each.name, "seconds": each.values} for each in series],
            "goals": [goal.report() for goal in goals],
        }
        Path(options.json).write_text(json.dumps(report, indent=1, default=str) + "\n")
    return int(any(goal.hopeless for goal in goals))


if __name__ == "__main__":
    sys.exit(main())
