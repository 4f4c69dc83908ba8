"""``python -m bench [PART …] [--quick] [--json FILE] [--plot FILE]``: measure, and say which goals hold.

Exit status 1 only where even the best round of a ratio or a count is past twice its goal, so that noise never decides;
the last lines say which.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import exhaustion, kernel, recovery, restart, sandbox
from bench.ending import unwind_on_term
from bench.ipc import run as ipc
from bench.memory import run as memory
from bench.network import run as network
from bench.report import console, join, print_report, write_json
from bench.storage import run as storage
from bench.storm import run as storm

PARTS = ("kernel", "ipc", "sandbox", "memory", "storage", "network", "recovery", "restart", "storm", "exhaustion")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks, each against its peers.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{' or '.join(PARTS)}; all of them if none is named")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there as well")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw round trip against message size there (PNG)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {' and '.join(PARTS)}")
    unwind_on_term()
    errors = console(stderr=True)

    def progress(text: str) -> None:
        errors.print(f"measuring: {text} …")

    reports = []
    for part in options.parts or PARTS:
        if part == "kernel":
            reports.append(kernel.run(kernel.QUICK if options.quick else kernel.FULL, progress))
        elif part == "sandbox":
            reports.append(sandbox.run(sandbox.QUICK if options.quick else sandbox.FULL, progress))
        elif part == "memory":
            reports.append(memory.run(memory.QUICK if options.quick else memory.FULL, progress))
        elif part == "storage":
            reports.append(storage.run(storage.QUICK if options.quick else storage.FULL, progress))
        elif part == "network":
            reports.append(network.run(network.QUICK if options.quick else network.FULL, progress))
        elif part == "recovery":
            reports.append(recovery.run(recovery.QUICK if options.quick else recovery.FULL, progress))
        elif part == "restart":
            reports.append(restart.run(restart.QUICK if options.quick else restart.FULL, progress))
        elif part == "storm":
            reports.append(storm.run(storm.QUICK if options.quick else storm.FULL, progress))
        elif part == "exhaustion":
            reports.append(exhaustion.run(exhaustion.QUICK if options.quick else exhaustion.FULL, progress))
        else:
            reports.append(ipc.run(ipc.QUICK if options.quick else ipc.FULL, progress, options.plot))
        print_report(reports[-1], console())
    report = join(reports)
    if options.json:
        write_json(report, options.json)
    hopeless = [goal for goal in report.goals if goal.hopeless]
    for goal in hopeless:
        text = f"past twice its goal in each round: {goal.name}: {goal.value:.3g} {goal.unit}, {goal.best:.3g} at best"
        errors.print(
            f"{text}; {'at most' if goal.at_most else 'at least'} {goal.bound:g}", highlight=False, markup=False
        )
    return int(bool(hopeless))


if __name__ == "__main__":
    sys.exit(main())
