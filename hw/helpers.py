"""Processes of the host that devices stand on (a network's other end): what they are, and how they are looked after.

Rules. The monitor starts them, before the kernel, and ends each by its own descriptor. One that ends by itself is
started again, on the same descriptors: its peer in the kernel notices nothing but what was lost with it. After
`MOST_STARTS` it stays ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hw.parent_death import die_with_parent

MOST_STARTS: Final = 6
Process = tuple[subprocess.Popen[bytes], int]  # with its pidfd


@dataclass(frozen=True, slots=True)
class Helper:
    """``python -m module --parent PID arguments…``, with descriptors that it inherits and that stay the caller's.

    ``name`` is that of its log.
    """

    name: str
    module: str
    arguments: Sequence[str]
    descriptors: Sequence[int]


Start = Callable[[str, Sequence[str], Sequence[int]], Process]


class Helpers:
    """``start``: name of the log, Python's arguments, descriptors to inherit."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._running: dict[int, tuple[Helper, subprocess.Popen[bytes]]] = {}  # by pidfd
        self._starts: dict[str, int] = {}

    @property
    def descriptors(self) -> Mapping[int, object]:
        """A pidfd of each that runs: readable when it has ended, which is to be told to `ended`."""
        return self._running

    def start(self, helper: Helper) -> int:
        """Start one; returns its pidfd."""
        self._starts[helper.name] = self._starts.get(helper.name, 0) + 1
        arguments = ["-m", helper.module, "--parent", str(os.getpid()), *helper.arguments]
        process, pidfd = self._start(helper.name, arguments, helper.descriptors)
        self._running[pidfd] = (helper, process)
        return pidfd

    def ended(self, pidfd: int) -> tuple[str, int | None]:
        """One has ended: start it again. Returns what is to be said of it, and the new pidfd, None if it stays so."""
        helper, process = self._running.pop(pidfd)
        status = process.wait()
        os.close(pidfd)
        if self._starts[helper.name] >= MOST_STARTS:
            return f"{helper.name} ended with status {status}, for the {MOST_STARTS}th time, and stays ended", None
        return f"{helper.name} ended with status {status} and is started again", self.start(helper)

    def close(self) -> None:
        """End all that are left."""
        for pidfd, (_, process) in self._running.items():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(pidfd)
        self._running.clear()


def begin_helper(parent: int) -> None:
    """What a helper does first: it ends with its parent, and leaves the terminal's signals to it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(parent)
