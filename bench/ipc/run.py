"""``python -m bench ipc``: all contenders, interleaved in one run (README.md says how, and why that is fair)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.ipc import contenders, goals, published
from bench.ipc.compiled import compile_program, compiler
from bench.ipc.counting import host_system_calls
from bench.ipc.peer import Peer, python
from bench.ipc.peers import INSTALL, Peers
from bench.ipc.placement import Placement, processors
from bench.ipc.sizes import FULL, QUICK, Sizes
from bench.ipc.system import System
from bench.report import Report
from bench.rounds import Goal, Series, interleave

__all__ = ["FULL", "QUICK", "run"]

MOST_BYTES = 960
WORD_REGISTERS = 32  # bytes that travel in registers
COUNTS = 15  # of host system calls
ROUNDS_FOR_ONE_OF_MANY = 3  # opening the channels takes far longer than revoking them
CHANNELS_EACH = 50  # of a client, in the revocation of many

Progress = Callable[[str], None]
Measure = Callable[[int], float]  # seconds of a round trip of so many bytes


def run(sizes: Sizes, progress: Progress, plot: Path | None) -> Report:
    """All measurements; draws the plot if it is asked for."""
    with ExitStack() as stack:
        programs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sel4py-bench-")))
        progress("starting the system and its peers")
        system = stack.enter_context(System(sizes.clients, sizes.pairs))
        found = Peers(stack, programs)
        pipes = stack.enter_context(Peer(python("pipe_pairs", str(sizes.pairs))))
        report = Report([], [], notes=list(found.missing), facts=[published.DIFFERENCE])
        progress("placements")
        found.calibrate()
        crowds = contenders.Crowds(system, pipes, sizes)
        places = {kind.name: place for kind, place in found.placements.items()} | crowds.calibrate()
        report.facts.append("fastest: " + "; ".join(f"{name}: {place.value}" for name, place in places.items()))
        progress(f"{sizes.rounds} interleaved rounds")
        turns = contenders.ours(system, sizes) | contenders.theirs(found, sizes) | crowds.turns()
        series = interleave(turns, sizes.rounds)
        report.series.extend(series.values())
        report.goals.extend(_goals(series, crowds))
        progress("host system calls of a warm call")
        _count(system, programs, report)
        progress("revocation")
        report.goals.extend(_revocation(system, _truncation(stack, programs, report), sizes))
        if plot is not None:
            progress("round trip against message size")
            report.curves.update(measure_curves(contenders.curves(system, found, sizes), sizes))
            _draw(report, plot)
    return report


def _goals(series: dict[str, Series], crowds: contenders.Crowds) -> list[Goal]:
    return [
        *goals.ratios(series),
        goals.fairness(goals.PAIRS, crowds.fairness[goals.PAIRS], goals.FAIREST),
        goals.fairness(goals.CROWD, crowds.fairness[goals.CROWD], 0.0),
        goals.signals(series[goals.SIGNAL]),
        *goals.side_by_side(series[goals.CALL], series[goals.SIGNAL]),
    ]


def _count(system: System, programs: Path, report: Report) -> None:
    what = "host system calls of a warm call"
    if compiler() is None:
        report.notes.append(f"{what}: there is no C compiler (cc)")
        return
    system.place(Placement.SPLIT, "null")
    pids = [system.pid("driver"), system.pid("null")]
    program = compile_program("count_syscalls", programs)

    def calls(count: int) -> None:
        system.order("calls", count)

    try:
        counts = [host_system_calls(program, pids, calls) for _ in range(COUNTS)]
    except PermissionError as error:
        report.notes.append(f"{what}: {error}")
    else:
        report.goals.append(goals.host_system_calls(counts))


def _truncation(stack: ExitStack, programs: Path, report: Report) -> Peer | None:
    if compiler() is None:
        report.notes.append(f"{goals.TRUNCATION}: there is no C compiler (cc)")
        return None
    program = compile_program("truncation", programs)
    return stack.enter_context(Peer([str(program), *(str(each) for each in processors())]))


def _revocation(system: System, bare: Peer | None, sizes: Sizes) -> list[Goal]:
    """The client that is cut off shares a processor with its server, and the other is left to who revokes and to the
    kernel; or client and server have one each, and all four meet there. ``bare``: as the first. A server that has many
    clients besides is measured as the first."""
    first, second = processors()
    one, two = (f"{goals.REVOKE}, {each.value}" for each in (Placement.ONE, Placement.SPLIT))
    crowd = goals.REVOKE_OF_CROWD
    singles: dict[str, list[list[float]]] = {one: [], two: [], crowd: []}
    truncations, many = [], []
    clients = min(sizes.clients, sizes.revoked_channels // CHANNELS_EACH)
    for _ in range(sizes.rounds):
        for name, found in singles.items():
            server = "hub" if name == crowd else "lone"
            system.pin(["client0"], {first})
            system.pin([server], {second if name == two else first})
            system.pin(["driver"], {second})
            found.append(system.order("revoke", sizes.revocations, server)["seconds"])
        if bare is not None:
            truncations.append(bare.order(f"revoke {sizes.revocations}"))
    for _ in range(max(1, sizes.rounds // ROUNDS_FOR_ONE_OF_MANY)):
        answer = system.order("revoke_many", clients, CHANNELS_EACH)
        if answer["answered"]:
            raise RuntimeError(f"{answer['answered']} calls were answered after their channel was revoked")
        many.append(float(answer["seconds"]))
    return [
        *goals.revocation(one, singles[one], goals.REVOKE_P99_US),
        *(goals.against_truncation(one, singles[one], truncations) if truncations else ()),
        *goals.revocation(two, singles[two], goals.STATED_LOW),
        *goals.revocation(crowd, singles[crowd], goals.STATED_LOW),
        goals.revocation_of_many(many, clients * CHANNELS_EACH),
    ]


def measure_curves(measured: dict[str, Measure], sizes: Sizes) -> dict[str, dict[int, float]]:
    """The best round by size; all contenders take turns at each size."""
    steps = sorted({0, WORD_REGISTERS, *range(sizes.curve_step, MOST_BYTES, sizes.curve_step), MOST_BYTES})
    curves: dict[str, dict[int, float]] = {name: {} for name in measured}
    for size in steps:
        values: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(sizes.curve_rounds):
            for name, round_trip in measured.items():
                values[name].append(round_trip(size))
        for name, taken in values.items():
            curves[name][size] = min(taken)
    return curves


def _draw(report: Report, file: Path) -> None:
    try:
        from bench.ipc.plot import draw
    except ImportError:
        report.notes.append(f"the plot: matplotlib is not installed: {INSTALL}")
    else:
        draw(report.curves, file)
