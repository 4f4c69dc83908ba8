"""Whether the garbage collector runs in this thread: what it finalizes must make no system call then.

The collector may run anywhere, in the midst of a message that is being put together as well, and a thread has one
message area. So a finalizer that has something to tell a server keeps it, and it is told at the next good moment.
"""

from __future__ import annotations

import gc
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from libsel4py.errors import KernelError, RemoteError, ServerDied, ServiceError

_threads: set[int] = set()


def is_collecting() -> bool:
    """Whether the calling thread is in the collector."""
    return threading.get_ident() in _threads


class Leftovers:
    """What finalizers have left to do."""

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], object]] = deque()

    def leave(self, job: Callable[[], object]) -> None:
        """Keep a job until `settle`."""
        self._jobs.append(job)

    def settle(self) -> None:
        """Do them, outside of the collector; there is nobody to tell what goes wrong."""
        while self._jobs:
            with suppress(OSError, ServiceError, KernelError, RemoteError, ServerDied):
                self._jobs.popleft()()


def _note(phase: str, info: dict[str, Any]) -> None:
    if phase == "start":
        _threads.add(threading.get_ident())
    else:
        _threads.discard(threading.get_ident())


gc.callbacks.append(_note)
