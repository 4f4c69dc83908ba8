"""Page faults: ours through the kernel and a pager in Python, against userfaultfd(2) handled by a Python process.

Both read pages in order of their addresses, each missing at first. Ours has twice the hops: the fault goes to the
kernel, to the pager, whose mapping goes to the kernel and on to the process; Linux's goes to the handler and back.
Both are taken with a processor for each of the two sides, and where they are fastest: Linux's by a trial, ours by the
rounds themselves, since its placements differ by less than a host's moods. Our kernel goes where Linux puts it. A
single fault's goal is for the first on both sides; the second on both, where Linux's is two switches of one processor,
is stated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from bench.booted import BootedSystem
from bench.ipc.goals import STATED_LOW
from bench.ipc.peer import Peer
from bench.ipc.placement import Placement, place
from bench.rounds import Goal, Series, ratio_goal

FAULT: Final = {
    Placement.ONE: "page fault, a pager in Python, one CPU for both sides",
    Placement.SPLIT: "page fault, a pager in Python, a CPU for each side",
    Placement.FREE: "page fault, a pager in Python, unpinned",
}
AHEAD: Final = "page of a sequential read, 1 MiB mapped for a fault"
AHEAD_SMALL: Final = "page of a sequential read, 16 frames mapped for a fault"
LINUX: Final = "page fault, userfaultfd where it is fastest"
LINUX_SPLIT: Final = "page fault, userfaultfd, a CPU for each side"
MAP: Final = "frame retyped and mapped, by batches"
REVOKE: Final = "revoke of a frame that 100 tasks have mapped, a task"
PAGE_BITS, LARGE_BITS, FRAMES_AHEAD = 12, 20, 16
SHARERS: Final = 100


def contenders(
    system: BootedSystem, linux: Peer | None, linux_place: Placement, pages: int, frames: int
) -> dict[str, Callable[[], float]]:
    """Seconds a page, a frame, or a task. ``linux_place``: where Linux's is fastest."""
    single = f"fault {pages} 1 {PAGE_BITS}"
    system.order(single)  # the task that is paged is there since
    pids = system.tasks()

    def ours(order: str, placement: Placement = Placement.FREE) -> Callable[[], float]:
        def turn() -> float:
            place(placement, [pids["faulter"]], [pids["driver"]])
            return float(system.order(order)["seconds"])

        return turn

    turns = {name: ours(single, placement) for placement, name in FAULT.items()}
    turns |= {
        AHEAD: ours(f"fault {pages} 1 {LARGE_BITS}"),
        AHEAD_SMALL: ours(f"fault {pages} {FRAMES_AHEAD} {PAGE_BITS}"),
        MAP: ours(f"map {frames}"),
        REVOKE: ours(f"revoke {SHARERS}"),
    }
    if linux is not None:
        peer = linux

        def theirs(placement: Placement) -> Callable[[], float]:
            def turn() -> float:
                peer.place(placement)
                return peer.order(f"touch {pages}")[0]

            return turn

        turns |= {LINUX: theirs(linux_place), LINUX_SPLIT: theirs(Placement.SPLIT)}
    return turns


def fastest(series: Mapping[str, Series]) -> Placement:
    """Where ours takes the least time for a fault, by the rounds that were run."""
    return min(FAULT, key=lambda placement: series[FAULT[placement]].median)


def goals(series: Mapping[str, Series]) -> list[Goal]:
    """At most 3 times its time for a fault, its sides with a processor each, and faster where the pager maps ahead."""
    if LINUX not in series:
        return []
    found = []
    for placement, linux, bound in ((Placement.SPLIT, LINUX_SPLIT, 3.0), (fastest(series), LINUX, STATED_LOW)):
        single, theirs = series[FAULT[placement]], series[linux]
        against = f", against {linux}"
        found.append(ratio_goal(single.name + against, single, theirs, bound, faster=False))
        found.append(ratio_goal(AHEAD + against, series[AHEAD], theirs, 1.0, faster=True))
    return found
