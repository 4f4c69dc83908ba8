"""Which processors the processes of a contender run on. It is set from outside, alike for tasks and for peers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path


class Placement(Enum):
    """Of a client and its server."""

    ONE = "one CPU"
    SPLIT = "two CPUs"
    FREE = "unpinned"


def processors() -> tuple[int, int]:
    """Two processors to measure on; the same one twice where there is no second."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[min(1, len(usable) - 1)]


def pin(pids: Iterable[int], cpus: Iterable[int]) -> None:
    """Keep all threads of these processes on these processors."""
    wanted = set(cpus)
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):  # a thread that has ended meanwhile
                os.sched_setaffinity(int(thread.name), wanted)


def place(placement: Placement, clients: Iterable[int], servers: Iterable[int]) -> None:
    """Put clients and servers where ``placement`` says. A pair of several shares a processor or is split likewise."""
    both = processors()
    for number, (client, server) in enumerate(zip(clients, servers, strict=True)):
        match placement:
            case Placement.ONE:
                cpus = {both[number % 2]}, {both[number % 2]}
            case Placement.SPLIT:
                cpus = {both[number % 2]}, {both[1 - number % 2]}
            case Placement.FREE:
                cpus = set(both), set(both)
        pin([client], cpus[0])
        pin([server], cpus[1])


def best(measure: Callable[[Placement], float], placements: Iterable[Placement] = Placement) -> Placement:
    """The placement in which ``measure`` (seconds a call) is smallest."""
    return min(placements, key=measure)
