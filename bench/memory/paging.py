"""Page faults: ours through the kernel and a pager in Python, against userfaultfd(2) handled by a Python process.

Both read pages in order of their addresses, each missing at first. Ours has twice the hops: the fault goes to the
kernel, to the pager, whose mapping goes to the kernel and on to the process; Linux's goes to the handler and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from bench.booted import BootedSystem
from bench.ipc.peer import Peer
from bench.rounds import Goal, Series, ratio_goal

FAULT: Final = "page fault, a pager in Python"
AHEAD: Final = "page of a sequential read, 16 mapped for a fault"
LINUX: Final = "page fault, userfaultfd"
PAGES_AHEAD: Final = 16


def contenders(system: BootedSystem, linux: Peer | None, pages: int) -> dict[str, Callable[[], float]]:
    """Seconds a page, over so many."""

    def ours(ahead: int) -> Callable[[], float]:
        return lambda: float(system.order(f"fault {pages} {ahead}")["seconds"])

    turns = {FAULT: ours(1), AHEAD: ours(PAGES_AHEAD)}
    if linux is not None:
        peer = linux
        turns[LINUX] = lambda: peer.order(f"touch {pages}")[0]
    return turns


def goals(series: Mapping[str, Series]) -> list[Goal]:
    """At most 3 times its time for a fault, and faster where the pager maps ahead."""
    if LINUX not in series:
        return []
    return [
        ratio_goal(f"{FAULT}, against {LINUX}", series[FAULT], series[LINUX], 3.0, faster=False),
        ratio_goal(f"{AHEAD}, against {LINUX}", series[AHEAD], series[LINUX], 1.0, faster=True),
    ]
