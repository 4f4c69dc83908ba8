"""Runs of `sel4py chaos --json`, added up, as a page of Markdown.

    python -m deploy.chaos.reliability RESULT.json... > figures.md

A long run may be made in slices, each with its seed: each slice is a file, and what they counted is added. Percentiles
are of all slices together, each the end of a histogram's bucket (a quarter more than the time itself, at most).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from libsel4py.workload import percentile_of

_SUMS: Final = {
    "faults injected": "injected",
    "recoveries seen": "recoveries",
    "requests repeated": "requests_repeated",
    "errors seen by clients": "client_errors",
    "answers checked": "checks",
    "wrong ones of them": "wrong",
    "looks at what was acknowledged": "kept_checks",
    "acknowledged data lost": "data_lost",
    "answers damaged by changed bits": "damaged",
}


class FaultCounts(msgspec.Struct, frozen=True):
    """What a run tells of one fault; ``spent`` counts recoveries by their bucket (`libsel4py.workload.bucket`)."""

    injected: int
    skipped: int
    recovered: int = 0
    spent: list[tuple[int, int]] = []


class Late(msgspec.Struct, frozen=True):
    """A recovery that its policy does not explain; ``number`` is its fault's in the schedule of the run's seed."""

    number: int
    fault: str
    target: str
    ms: float


class Run(msgspec.Struct, frozen=True):
    """What the page needs of a run's result."""

    ok: bool
    system: str
    seed: int
    rate: float
    seconds: float
    injected: int
    recoveries: int
    requests_repeated: int
    client_errors: int
    checks: int
    kept_checks: int
    wrong: int
    data_lost: int
    damaged: int
    faults: dict[str, FaultCounts]
    violations: list[object]
    missing: list[str]
    stalled: list[str]
    lost: str
    late: list[Late] = []


class _Printed(msgspec.Struct, frozen=True):
    result: Run


def read(path: Path) -> Run:
    """A run's result. Raises OSError, msgspec.MsgspecError: it is none."""
    return msgspec.json.decode(path.read_bytes(), type=_Printed).result


def page(runs: Sequence[Run]) -> str:
    """Tables of the runs, their sums, and each fault."""
    return "\n\n".join((_of_runs(runs), _of_sums(runs), _of_faults(runs))) + "\n"


def _of_runs(runs: Sequence[Run]) -> str:
    rows = [
        (run.system, run.seed, f"{run.rate:g}", f"{run.seconds:.0f}", f"{run.injected:,}", _verdict(run))
        for run in runs
    ]
    return _table(("system", "seed", "faults a second asked for", "seconds", "injected", "verdict"), rows)


def _verdict(run: Run) -> str:
    if run.ok:
        return "nothing was wrong"
    found = [f"{each} does not run" for each in run.missing] + [f"{each} stands still" for each in run.stalled]
    found += [f"{each.target or 'the kernel'} was away for {each.ms / 1000:.0f} s" for each in run.late]
    found += [run.lost] if run.lost else []
    found += [f"{len(run.violations)} violations"] if run.violations else []
    found += [f"{run.wrong} wrong answers"] if run.wrong else []
    return "; ".join(found) or "something was wrong"


def _of_sums(runs: Sequence[Run]) -> str:
    rows = [(name, f"{sum(getattr(run, key) for run in runs):,}") for name, key in _SUMS.items()]
    return _table(("all runs", "number"), rows)


def _of_faults(runs: Sequence[Run]) -> str:
    rows: list[tuple[object, ...]] = []
    for name in dict.fromkeys(name for run in runs for name in run.faults):
        found = [run.faults[name] for run in runs if name in run.faults]
        spent: Counter[int] = Counter()
        for each in found:
            spent.update(dict(each.spent))
        times = [f"{percentile_of(spent, share) / 1000:.1f}" if spent else "" for share in (0.5, 0.99, 1.0)]
        counts = [f"{sum(getattr(each, key) for each in found):,}" for key in ("injected", "skipped", "recovered")]
        rows.append((f"`{name}`", *counts, *times))
    heads = ("fault", "injected", "not done", "recoveries seen", "p50 ms", "p99 ms", "max ms")
    return _table(heads, rows)


def _table(heads: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, each))} |" for each in lines)


if __name__ == "__main__":
    try:
        print(page([read(Path(name)) for name in sys.argv[1:]]), end="")
    except (OSError, msgspec.MsgspecError) as error:
        raise SystemExit(f"{error}; give it what `sel4py chaos --json` has printed, a file a run") from error
