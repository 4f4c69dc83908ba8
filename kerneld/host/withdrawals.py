"""Memory on its way back to the host: memfds that are truncated, a part at a time where much is in them."""

from __future__ import annotations

import os
from collections.abc import Callable

from kerneld.host.barrier import Barrier
from kerneld.host.chores import Chores
from kerneld.host.frame_memory import withdraw_some


class Withdrawals:
    """Those that are under way. Whoever waits at the barrier waits for them."""

    def __init__(self, chores: Chores, barrier: Barrier) -> None:
        self._chores = chores
        self._barrier = barrier
        self._descriptors: set[int] = set()

    def begin(self, descriptor: int, done: Callable[[], None]) -> None:
        """Take a memfd's memory away from all who have it, close it, and call `done`."""
        if not withdraw_some(descriptor):
            os.close(descriptor)
            done()
            return
        self._descriptors.add(descriptor)
        self._barrier.begin(descriptor)
        self._chores.add(lambda: self._go_on(descriptor, done))

    def close(self) -> None:
        """Close the descriptors; no more is withdrawn."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def _go_on(self, descriptor: int, done: Callable[[], None]) -> bool:
        if withdraw_some(descriptor):
            return True
        self._descriptors.discard(descriptor)
        os.close(descriptor)
        self._barrier.end(descriptor)
        done()
        return False
