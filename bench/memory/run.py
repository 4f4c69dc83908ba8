"""``python -m bench memory``: bulk transfer and memory handed over, against what a Python program could use instead."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from bench.booted import SYSTEMS, BootedSystem
from bench.ipc.peer import Peer
from bench.ipc.placement import Placement, place
from bench.report import Report
from bench.rounds import Goal, Series, interleave, ratio_goal

BUFFERS = 16
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = {"64 KiB": 64 * KIB, "1 MiB": MIB}
STATED = 0.0  # at least so much: always so


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. ``bulk_bytes`` a round in pieces of ``piece_bytes``; ``hand_overs`` a round."""

    rounds: int
    bulk_bytes: int
    piece_bytes: int
    hand_overs: int


FULL = Sizes(rounds=9, bulk_bytes=GIB, piece_bytes=256 * KIB, hand_overs=300)
QUICK = Sizes(rounds=5, bulk_bytes=GIB // 4, piece_bytes=256 * KIB, hand_overs=100)


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
        few = f"{BUFFERS} {sizes.piece_bytes} {4 * BUFFERS}"
        found = {name: peers[name].best_placement(f"bulk {few}") for name in ("shared_memory", "pipe")}
        found["socket"] = peers["socket"].best_placement(f"echo {64 * KIB} 20")
        progress(f"{sizes.rounds} interleaved rounds")
        series = interleave(_bulk(system, peers, sizes) | _hand_overs(system, peers, sizes), sizes.rounds)
    report = Report(list(series.values()), [*_bulk_goals(series), *_hand_over_goals(series)])
    report.facts.append("fastest: " + "; ".join(f"{name}: {where.value}" for name, where in found.items()))
    return report


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "bench.memory.peers", name]


def _bulk(system: BootedSystem, peers: dict[str, Peer], sizes: Sizes) -> dict[str, Callable[[], float]]:
    """Seconds of a GiB."""
    order = f"bulk {BUFFERS} {sizes.piece_bytes} {sizes.bulk_bytes // sizes.piece_bytes}"
    scale = GIB / sizes.bulk_bytes
    return {
        "1 GiB, data-space ring": lambda: system.order(order)["seconds"] * scale,
        "1 GiB, shared_memory and Pipe": lambda: peers["shared_memory"].order(order)[0] * scale,
        "1 GiB, Pipe": lambda: peers["pipe"].order(order)[0] * scale,
    }


def _hand_overs(system: BootedSystem, peers: dict[str, Peer], sizes: Sizes) -> dict[str, Callable[[], float]]:
    turns: dict[str, Callable[[], float]] = {}
    for name, size in SIZES.items():
        arguments = f"{size} {sizes.hand_overs}"
        turns[f"{name} handed over, mapped and read"] = _asked(system, f"hand-over {arguments}")
        turns[f"{name} handed over, the capability"] = _asked(system, f"capability {arguments}")
        turns[f"{name} by Unix socket and back"] = _answered(peers["socket"], f"echo {arguments}")
    return turns


def _asked(system: BootedSystem, order: str) -> Callable[[], float]:
    return lambda: float(system.order(order)["seconds"])


def _answered(peer: Peer, order: str) -> Callable[[], float]:
    return lambda: peer.order(order)[0]


def _bulk_goals(series: dict[str, Series]) -> list[Goal]:
    ring = series["1 GiB, data-space ring"]
    return [
        ratio_goal(
            "1 GiB by ring against shared_memory and Pipe",
            ring,
            series["1 GiB, shared_memory and Pipe"],
            1.0,
            faster=True,
        ),
        ratio_goal("1 GiB by ring against Pipe", ring, series["1 GiB, Pipe"], 5.0, faster=True),
    ]


def _hand_over_goals(series: dict[str, Series]) -> list[Goal]:
    goals = []
    for name, bound in (("64 KiB", 20.0), ("1 MiB", 2.5)):
        socket = series[f"{name} by Unix socket and back"]
        given = f"{name} handed over, the capability"
        goals.append(ratio_goal(f"{given}, against a Unix socket", series[given], socket, bound, faster=True))
        mapped = f"{name} handed over, mapped and read"
        goals.append(ratio_goal(f"{mapped}, against a Unix socket", series[mapped], socket, STATED, faster=True))
    return goals
