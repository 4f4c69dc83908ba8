"""What the processes of a running system use of the host's processors, from two looks at it.

Rules. A look is what its kernel answers (`ps`, `status`), checked before it is believed. Shares are percent of one
processor, so that of a process with several threads can be above 100. Who was not there at the first look has used all
its time since then, and so has a kernel that was started again meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from deploy.management import Management, ManagementError


class Thread(msgspec.Struct, frozen=True):
    """A row of `ps`, as far as it matters here."""

    name: str
    thread: int
    pid: int
    state: str
    cpu_us: int
    restarts: int


class Kernel(msgspec.Struct, frozen=True):
    """What `status` says of the kernel's process."""

    pid: int
    uptime_us: int
    processor_time_us: int
    system_calls: int
    doorbells: int
    kernel_restarts: int


@dataclass(frozen=True, slots=True)
class Look:
    """At one moment, in seconds of the host's monotonic clock."""

    seconds: float
    kernel: Kernel
    threads: Sequence[Thread]


@dataclass(frozen=True, slots=True)
class TaskUsage:
    """A process's part. percent: of one processor, between the looks. cpu_us: since the process began."""

    task: str
    state: str
    percent: float
    cpu_us: int
    threads: int
    restarts: int
    pid: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a whole system, between two looks that lie ``seconds`` apart; the busiest task first.

    Attributes:
        kernel_percent, tasks_percent: of one processor. system_calls, doorbells: of the kernel, a second.
    """

    seconds: float
    uptime_us: int
    kernel_percent: float
    tasks_percent: float
    system_calls: float
    doorbells: float
    kernel_restarts: int
    tasks: Sequence[TaskUsage]


def look(management: Management) -> Look:
    """Raises ManagementError: the system does not answer, or not what a kernel of ours answers."""
    threads, kernel = management.request("ps"), management.request("status")
    try:
        return Look(time.monotonic(), msgspec.convert(kernel, Kernel), msgspec.convert(threads, list[Thread]))
    except msgspec.ValidationError as error:
        raise ManagementError(f"its kernel's answer cannot be read, as an older one's may not be: {error}") from error


def between(first: Look, last: Look) -> Usage:
    """Raises ValueError: the looks are at the same moment, or in the wrong order."""
    seconds = last.seconds - first.seconds
    if seconds <= 0:
        raise ValueError(f"{seconds} s lie between the looks; it takes two, the earlier one first")
    before = {(each.name, each.pid): each.cpu_us for each in first.threads}
    tasks = [_task(before, threads, seconds) for threads in _by_process(last.threads).values()]
    kernel, former = last.kernel, first.kernel
    same = kernel.pid == former.pid

    def since(now: int, then: int) -> float:
        return (now - (then if same else 0)) / seconds

    return Usage(
        round(seconds, 3),
        kernel.uptime_us,
        _percent(since(kernel.processor_time_us, former.processor_time_us)),
        round(sum(each.percent for each in tasks), 1),
        round(since(kernel.system_calls, former.system_calls), 1),
        round(since(kernel.doorbells, former.doorbells), 1),
        kernel.kernel_restarts,
        sorted(tasks, key=lambda each: (-each.percent, each.task)),
    )


def _by_process(threads: Sequence[Thread]) -> Mapping[int, list[Thread]]:
    """Those that have one, by its number, the first thread first."""
    found: dict[int, list[Thread]] = {}
    for each in sorted(threads, key=lambda each: each.thread):
        if each.pid:
            found.setdefault(each.pid, []).append(each)
    return found


def _task(before: Mapping[tuple[str, int], int], threads: Sequence[Thread], seconds: float) -> TaskUsage:
    first = threads[0]
    # It has ended since the kernel listed it where its time is less than before.
    used = max(first.cpu_us - before.get((first.name, first.pid), 0), 0)
    return TaskUsage(
        first.name,
        first.state,
        _percent(used / seconds),
        first.cpu_us,
        len(threads),
        first.restarts,
        first.pid,
    )


def _percent(microseconds_a_second: float) -> float:
    return round(microseconds_a_second / 10_000, 1)
