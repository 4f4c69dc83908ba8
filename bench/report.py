"""What the benchmarks found: series, goals, what could not be measured; as tables and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.rounds import Goal, Series

WIDTH = 140


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of one part. ``notes`` say what was not measured, and why; ``facts`` what it was measured on.

    ``curves`` are seconds of a round trip by its size in bytes, for each contender.
    """

    series: list[Series]
    goals: list[Goal]
    notes: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    curves: dict[str, dict[int, float]] = field(default_factory=dict)


def join(reports: list[Report]) -> Report:
    """All findings as one."""
    return Report(
        [each for report in reports for each in report.series],
        [each for report in reports for each in report.goals],
        [each for report in reports for each in report.notes],
        [each for report in reports for each in report.facts],
        {name: curve for report in reports for name, curve in report.curves.items()},
    )


def duration(seconds: float) -> str:
    """With a unit that fits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e9:.0f} ns" if seconds * 1e9 >= 100 else f"{seconds * 1e9:.1f} ns"


def console(*, stderr: bool = False) -> Console:
    """Where reports go. A pipe or a file has no width of its own; the tables want `WIDTH`."""
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=WIDTH)


def summary(goals: list[Goal]) -> str:
    """The line that says which goals hold."""
    bounded = [goal for goal in goals if goal.is_bounded]
    missed = [goal.name for goal in bounded if not goal.holds]
    line = f"{len(bounded) - len(missed)} of {len(bounded)} goals hold"
    return f"{line}; missed: {'; '.join(missed)}" if missed else line


def print_report(report: Report, to: Console) -> None:
    """Facts, tables, notes, and which goals hold."""
    for fact in report.facts:
        to.print(fact, highlight=False, markup=False)
    to.print(_series_table(report.series))
    to.print(_goals_table(report.goals))
    for note in report.notes:
        to.print(f"not measured: {note}", highlight=False, markup=False)
    to.print(summary(report.goals), highlight=False, markup=False)


def write_json(report: Report, file: Path) -> None:
    """Every value of every series, the goals, and the rest."""
    content = {
        "series": [{"name": each.name, "seconds": each.values} for each in report.series],
        "goals": [goal.report() for goal in report.goals],
        "notes": report.notes,
        "facts": report.facts,
        "curves": report.curves,
    }
    file.write_text(json.dumps(content, indent=1, default=str) + "\n")


def _series_table(series: list[Series]) -> Table:
    table = Table("what", "median", "best", "spread", title="time of one operation")
    for each in series:
        table.add_row(each.name, duration(each.median), duration(each.best), f"{each.spread:.2f}")
    return table


def _goals_table(goals: list[Goal]) -> Table:
    table = Table("goal", "value", "best", "bound", "holds", title="goals")
    for goal in goals:
        sign = "at most" if goal.at_most else "at least"
        bound = f"{sign} {goal.bound:g}" if goal.is_bounded else "stated"
        holds = ("yes" if goal.holds else "NO") if goal.is_bounded else ""
        table.add_row(goal.name, f"{goal.value:.3g} {goal.unit}", f"{goal.best:.3g}", bound, holds)
    return table
