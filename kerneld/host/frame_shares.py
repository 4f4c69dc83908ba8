"""What processes have of what the host has for frames: who takes much is refused more, and nobody else is.

A frame with memory of its own takes a descriptor of the kernel's and two of its mappings, whatever its size. It is
charged to one process: the first that can reach it, and where that one lets go of it another one. A process may have
`SHARE` times as many as are left to all (the dynamic thresholds of Choudhury and Hahne, 1998): one by itself four
fifths of them, of two each four ninths, and something is always left to those who have little.

Whether one has more is looked at between two turns, after some frames at a time. The kernel is told (`Kernel.limit`),
and refuses whoever maps a further frame for it. What was mapped before that, or before the process was started, is
handed to it all the same, up to twice its share: one that is beyond that is ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from kerneld.host.frame_use import FrameUse
from kerneld.host.process import Phase, Process

SHARE: Final = 4
BEYOND: Final = 2
LOOKED_AT_EVERY: Final = 16  # frames


class FrameShares:
    """Who pays for which frames.

    Args:
        left: how many frames can have memory of their own besides those that have.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, left: Callable[[], int]) -> None:
        self._loop = loop
        self._left = left
        self._limit: Callable[[int, bool], None] = lambda vspace, limited: None
        self._counts: dict[Process, int] = {}
        self._limited: set[Process] = set()
        self._unweighed: set[Process] = set()
        self._is_due = False

    def use_limit(self, limit: Callable[[int, bool], None]) -> None:
        """Told the VSpace of a process, and whether nothing further is to be mapped there."""
        self._limit = limit

    def __getitem__(self, process: Process) -> int:
        """How many frames the process pays for."""
        return self._counts.get(process, 0)

    def begins(self, process: Process) -> None:
        """Its VSpace may be limited, as that of a process before it, or at a kernel before this one."""
        self._weigh_soon(process)

    def ends(self, process: Process) -> None:
        """Its VSpace is its own no more. What it pays for is settled when it has lost it."""
        self._limited.discard(process)
        self._unweighed.discard(process)

    def settle(self, use: FrameUse) -> None:
        """Who can reach the frame has changed."""
        payer = use.payer
        if payer is not None and use.reaches(payer):
            return
        use.payer = use.someone()
        if payer is not None:
            self._release(payer)
        if use.payer is not None:
            self.charge(use.payer)

    def gone(self, use: FrameUse) -> None:
        """The frame was destroyed."""
        if use.payer is not None:
            self._release(use.payer)
            use.payer = None

    def freed(self) -> None:
        """The host has more left."""
        if self._limited:
            self._weigh_soon()

    def charge(self, process: Process) -> None:
        """It pays for one more."""
        count = self._counts[process] = self._counts.get(process, 0) + 1
        if not count % LOOKED_AT_EVERY or self._limited:
            self._weigh_soon(process)

    def is_beyond(self, process: Process) -> bool:
        """Whether it has so much more than its share that what it has mapped is not handed to it any more."""
        return process in self._limited and self[process] > BEYOND * SHARE * self._left()

    def _release(self, process: Process) -> None:
        self._counts[process] -= 1
        if not self._counts[process]:
            del self._counts[process]

    def _weigh_soon(self, process: Process | None = None) -> None:
        if process is not None and process.phase is not Phase.ENDING:
            self._unweighed.add(process)
        if not self._is_due:
            self._is_due = True
            # Behind this turn all is carried out that the kernel has told: a VSpace that was deleted is no process's.
            self._loop.call_soon(self._weigh)

    def _weigh(self) -> None:
        self._is_due = False
        most = SHARE * self._left()
        for process in self._unweighed | self._limited:
            limited = self[process] > most
            self._limit(process.vspace, limited)
            (self._limited.add if limited else self._limited.discard)(process)
        self._unweighed.clear()
