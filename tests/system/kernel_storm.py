"""A storm: the kernel of a running system is killed at instants that nobody has chosen, again and again.

The kernel is found among this process's descendants, by its parent's name and its own: asking the system would mean to
kill it only when it can answer.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import subprocess
from pathlib import Path
from typing import Final

NAME: Final = "sel4py-kerneld"
NURSERY: Final = "sel4py-kernels"
SPARE: Final = "sel4py-spare"


class Storm:
    """Kills the kernel of the system whose monitor is a process, until that ends.

    Args:
        seconds: mean time between a kernel's beginning and its end; each is random, up to twice as long.
    """

    def __init__(self, monitor: int, seed: int, seconds: float) -> None:
        self._monitor = monitor
        self._random = random.Random(seed)
        self._seconds = seconds
        self._nursery = 0
        self.kills = 0

    def rage(self, process: subprocess.Popen[bytes], most: int) -> None:
        """Kill until the system has ended, or so often. The process is that of the monitor, or of its parent."""
        end = os.pidfd_open(process.pid)
        try:
            while self.kills < most and not _readable(end, self._random.uniform(0, 2 * self._seconds)):
                self._kill()
        finally:
            os.close(end)

    def _kill(self) -> None:
        pid = self.kernel()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.kills += 1

    def kernel(self, name: str = NAME) -> int | None:
        """The process that is the kernel now; None while there is none. ``name``: SPARE for the next one."""
        if not self._nursery:
            found = [pid for pid in children(self._monitor) if name_of(pid) == NURSERY]
            if not found:
                return None
            self._nursery = found[0]
        return next((pid for pid in children(self._nursery) if name_of(pid) == name), None)


def _readable(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])


def children(pid: int) -> list[int]:
    """Those of a process that are not reaped."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def name_of(pid: int) -> str:
    """What ps(1) shows; "" of one that is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
