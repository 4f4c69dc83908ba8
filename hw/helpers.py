"""Processes of the host that devices stand on (a network's other end): what they are, and how they are looked after.

Rules. The monitor starts them, before the kernel, and ends each by its own descriptor. One that ends by itself is
started again, on the same descriptors: its peer in the kernel notices nothing but what was lost with it. After
`MOST_STARTS` within `STARTS_S` it stays ended: what meets a bug at each start is not started for ever. A helper that
``keeps`` hands over copies of descriptors that are not to be lost with it, and its next life inherits them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hw.kept_descriptors import KeptDescriptors
from hw.parent_death import die_with_parent

MOST_STARTS: Final = 6
STARTS_S: Final = 5.0
Process = tuple[subprocess.Popen[bytes], int]  # with its pidfd


@dataclass(frozen=True, slots=True)
class Helper:
    """``python -m module --parent PID arguments…``, with descriptors that it inherits and that stay the caller's.

    ``name`` is that of its log. ``keeps``: it has ``--keeper N`` and ``--kept``, as `hw.kept_descriptors` says.
    """

    name: str
    module: str
    arguments: Sequence[str]
    descriptors: Sequence[int]
    keeps: bool = False


Start = Callable[[str, Sequence[str], Sequence[int]], Process]


class Helpers:
    """``start``: name of the log, Python's arguments, descriptors to inherit."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._running: dict[int, tuple[Helper, subprocess.Popen[bytes]]] = {}  # by pidfd
        self._starts: dict[str, deque[float]] = {}  # when
        self._kept: dict[str, KeptDescriptors] = {}

    @property
    def descriptors(self) -> Mapping[int, object]:
        """A pidfd of each that runs: readable when it has ended, which is to be told to `ended`."""
        return self._running

    @property
    def keepers(self) -> Mapping[int, KeptDescriptors]:
        """What is to be called when a descriptor is readable: `KeptDescriptors.take`."""
        return {each.end: each for each in self._kept.values() if each.end >= 0}

    def start(self, helper: Helper) -> int:
        """Start one; returns its pidfd."""
        self._starts.setdefault(helper.name, deque(maxlen=MOST_STARTS)).append(time.monotonic())
        arguments = ["-m", helper.module, "--parent", str(os.getpid()), *helper.arguments]
        if helper.keeps:
            process, pidfd = self._start_keeping(helper, arguments)
        else:
            process, pidfd = self._start(helper.name, arguments, helper.descriptors)
        self._running[pidfd] = (helper, process)
        return pidfd

    def _start_keeping(self, helper: Helper, arguments: list[str]) -> Process:
        kept = self._kept.setdefault(helper.name, KeptDescriptors())
        with kept.begin() as end:
            text = ",".join(f"{number}:{descriptor}" for number, descriptor in kept.kept.items())
            arguments += ["--keeper", str(end.fileno()), "--kept", text]
            return self._start(helper.name, arguments, [*helper.descriptors, end.fileno(), *kept.kept.values()])

    def ended(self, pidfd: int) -> tuple[str, int | None]:
        """One has ended: start it again. Returns what is to be said of it, and the new pidfd, None if it stays so."""
        helper, process = self._running.pop(pidfd)
        status = process.wait()
        os.close(pidfd)
        if helper.keeps:
            self._kept[helper.name].ended()
        starts = self._starts[helper.name]
        if len(starts) == MOST_STARTS and time.monotonic() - starts[0] < STARTS_S:
            if helper.keeps:
                self._kept[helper.name].close()
            often = f"for the {MOST_STARTS}th time within {STARTS_S:g} s"
            return f"{helper.name} ended with status {status}, {often}, and stays ended", None
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
        for kept in self._kept.values():
            kept.close()


def begin_helper(parent: int) -> None:
    """What a helper does first: it ends with its parent, and leaves the terminal's signals to it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(parent)
