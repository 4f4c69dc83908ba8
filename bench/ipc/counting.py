"""How many host system calls a warm call makes: counted, with `count_syscalls.c` tracing both processes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

FEW, MANY = 1_000, 5_000  # under two milliseconds of calls: most pairs of runs see nobody take a processor away


def host_system_calls(program: Path, pids: Iterable[int], calls: Callable[[int], object]) -> float:
    """Host system calls that a call makes in all of ``pids`` together. ``calls(n)`` makes n of them.

    Two runs of different length are compared, so that what the order itself costs drops out.

    Raises:
        PermissionError: this host does not let the processes be traced; the text says what it said.
    """
    few, many = (_count(program, pids, calls, count) for count in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def _count(program: Path, pids: Iterable[int], calls: Callable[[int], object], count: int) -> int:
    command = [str(program), *map(str, pids)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as tracer:
        assert tracer.stdin is not None
        assert tracer.stdout is not None
        assert tracer.stderr is not None
        try:
            if tracer.stdout.readline() != "ready\n":
                raise PermissionError(tracer.stderr.read().strip())
            calls(count)
        finally:
            tracer.stdin.close()
        return int(tracer.stdout.readline())
