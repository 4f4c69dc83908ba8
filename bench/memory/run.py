"""``python -m bench memory``: bulk transfer, memory handed over, page faults; against what Python could use instead."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from bench.booted import SYSTEMS, BootedSystem
from bench.ipc.peer import Peer
from bench.ipc.placement import Placement, place
from bench.memory import paging
from bench.report import Report
from bench.rounds import Goal, Series, interleave, ratio_goal

BUFFERS = 16
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LARGE = "256 KiB"
PIECES = {"64 KiB": 64 * KIB, LARGE: 256 * KIB}
SIZES = {"64 KiB": 64 * KIB, "1 MiB": MIB}
RING, SHARED, PIPE = "1 GiB by data-space ring", "1 GiB by shared_memory and Pipe", "1 GiB by Pipe"
STATED = 0.0  # at least so much: always so


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured in a round: ``bulk_bytes`` by each way, ``hand_overs``, ``pages`` that fault, ``frames``
    that are mapped."""

    rounds: int
    bulk_bytes: int
    hand_overs: int
    pages: int
    frames: int


FULL = Sizes(rounds=9, bulk_bytes=GIB, hand_overs=300, pages=1024, frames=10_000)
QUICK = Sizes(rounds=5, bulk_bytes=GIB // 4, hand_overs=200, pages=1024, frames=2_000)


def run(sizes: Sizes, progress: Callable[[str], None]) -> Report:
    """All measurements: every series, and what became of the goals."""
    with ExitStack() as stack:
        progress("starting the system and its peers")
        system = stack.enter_context(BootedSystem(SYSTEMS / "memory.toml"))
        peers = {name: stack.enter_context(Peer(_command(name))) for name in ("shared_memory", "pipe", "socket")}
        system.order("prepare")
        pids = system.tasks()
        place(Placement.SPLIT, [pids["driver"]], [pids["drain"]])
        progress("placements")
        few = f"bulk {BUFFERS} {256 * KIB} {4 * BUFFERS}"
        found = {name: peers[name].best_placement(few) for name in ("shared_memory", "pipe")}
        found["socket"] = peers["socket"].best_placement(f"echo {64 * KIB} 20")
        progress(f"{sizes.rounds} interleaved rounds")
        series = interleave(_bulk(system, peers, sizes) | _hand_overs(system, peers, sizes), sizes.rounds)
    report = Report(list(series.values()), [*_bulk_goals(series), *_hand_over_goals(series)])
    progress("page faults")
    _paging(sizes, report, found)
    report.facts.append("fastest: " + "; ".join(f"{name}: {where.value}" for name, where in found.items()))
    return report


def _paging(sizes: Sizes, report: Report, found: dict[str, Placement]) -> None:
    with ExitStack() as stack:
        system = stack.enter_context(BootedSystem(SYSTEMS / "paging.toml"))
        linux, where = None, Placement.FREE
        try:
            linux = stack.enter_context(Peer([sys.executable, "-m", "bench.memory.userfault"]))
        except RuntimeError as error:
            report.notes.append(f"userfaultfd: {error}")
        else:
            where = found["userfaultfd"] = linux.best_placement("touch 100")
        turns = paging.contenders(system, linux, where, sizes.pages, sizes.frames)
        series = interleave(turns, sizes.rounds)
    found["page fault"] = paging.fastest(series)
    report.series.extend(series.values())
    report.goals.extend(paging.goals(series))


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "bench.memory.peers", name]


def _bulk(system: BootedSystem, peers: dict[str, Peer], sizes: Sizes) -> dict[str, Callable[[], float]]:
    """Seconds of a GiB."""
    scale = GIB / sizes.bulk_bytes

    def scaled(turn: Callable[[], float]) -> Callable[[], float]:
        return lambda: turn() * scale

    turns: dict[str, Callable[[], float]] = {}
    for name, size in PIECES.items():
        order = f"bulk {BUFFERS} {size} {sizes.bulk_bytes // size}"
        turns[f"{RING}, {name} each"] = scaled(_asked(system, order))
        turns[f"{SHARED}, {name} each"] = scaled(_answered(peers["shared_memory"], order))
        turns[f"{PIPE}, {name} each"] = scaled(_answered(peers["pipe"], order))
    return turns


def _hand_overs(system: BootedSystem, peers: dict[str, Peer], sizes: Sizes) -> dict[str, Callable[[], float]]:
    turns: dict[str, Callable[[], float]] = {}
    for name, size in SIZES.items():
        arguments = f"{size} {sizes.hand_overs}"
        few = f"{size} {sizes.hand_overs // 20}"  # they take far longer
        turns[f"{name}, mapped on both sides, handed over by a call"] = _asked(system, f"turn {arguments}")
        turns[f"{name} handed over, mapped and read"] = _asked(system, f"hand-over {few}")
        turns[f"{name} handed over, the capability"] = _asked(system, f"capability {few}")
        turns[f"{name} by Unix socket and back"] = _answered(peers["socket"], f"echo {arguments}")
    return turns


def _asked(system: BootedSystem, order: str) -> Callable[[], float]:
    return lambda: float(system.order(order)["seconds"])


def _answered(peer: Peer, order: str) -> Callable[[], float]:
    return lambda: peer.order(order)[0]


def _bulk_goals(series: dict[str, Series]) -> list[Goal]:
    goals = []
    for name in PIECES:
        ring = series[f"{RING}, {name} each"]
        for peer, bound in ((SHARED, 1.0), (PIPE, 5.0 if name == LARGE else STATED)):
            theirs = series[f"{peer}, {name} each"]
            goals.append(ratio_goal(f"{ring.name}, against {peer}", ring, theirs, bound, faster=True))
    return goals


def _hand_over_goals(series: dict[str, Series]) -> list[Goal]:
    goals = []
    for name, bound in (("64 KiB", 20.0), ("1 MiB", 2.5)):
        socket = series[f"{name} by Unix socket and back"]
        ways = {", mapped on both sides, handed over by a call": bound, " handed over, the capability": STATED}
        for way, wanted in (ways | {" handed over, mapped and read": STATED}).items():
            ours = series[name + way]
            goals.append(ratio_goal(f"{ours.name}, against a Unix socket", ours, socket, wanted, faster=True))
    return goals
