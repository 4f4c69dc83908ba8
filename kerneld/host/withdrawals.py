"""Memory on its way back to the host: memfds that are truncated, a part at a time where much is in them."""

from __future__ import annotations

import os
from collections.abc import Callable

from kerneld.host.barrier import Barrier
from kerneld.host.chores import Chores
from kerneld.host.fd_store import FdStore
from kerneld.host.frame_memory import withdraw_some


class Withdrawals:
    """Those that are under way. Whoever waits at the barrier waits for them.

    What takes long is kept as `gone:INODE` until it is done, so that a kernel that is started again goes on with it.
    """

    def __init__(self, chores: Chores, barrier: Barrier, store: FdStore) -> None:
        self._chores = chores
        self._barrier = barrier
        self._store = store
        self._descriptors: set[int] = set()

    def begin(self, descriptor: int, key: str, done: Callable[[], None]) -> None:
        """Take from all who have it the memory of a memfd that is kept under this key, close it, and call `done`."""
        if not withdraw_some(descriptor):
            self._store.drop(key)
            os.close(descriptor)
            done()
            return
        gone = f"gone:{os.fstat(descriptor).st_ino:x}"
        if key != gone:
            self._store.rename(key, gone)
        self._descriptors.add(descriptor)
        self._barrier.begin(descriptor)
        self._chores.add(lambda: self._go_on(descriptor, gone, done))

    def close(self) -> None:
        """Close the descriptors; no more is withdrawn."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def _go_on(self, descriptor: int, key: str, done: Callable[[], None]) -> bool:
        if withdraw_some(descriptor):
            return True
        self._store.drop(key)
        self._descriptors.discard(descriptor)
        os.close(descriptor)
        self._barrier.end(descriptor)
        done()
        return False
