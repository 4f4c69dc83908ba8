# mypy: disable-error-code="empty-body"
"""Makes small system calls without end while it is told to, and says how long the longest took."""

from __future__ import annotations

import sys
import threading
import time

from libsel4py import Interface, component, set_thread_entry
from libsel4py.abi import Syscall
from libsel4py.lowlevel.syscalls import FOREVER_NS, machine

SWITCH_SECONDS = 1e-4  # the interpreter's own 5 ms between its threads are not what is measured here


class Bystander(Interface):
    """A task that has nothing to do with what is measured."""

    def begin(self) -> None:
        """Start making system calls."""

    def end(self) -> tuple[int, int]:
        """Stop; returns how many there were, and the longest one's nanoseconds."""


@component
class Main(Bystander):
    """The second thread makes the system calls; the first answers."""

    def __init__(self) -> None:
        self._running = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._count = 0
        self._longest = 0

    def start(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        set_thread_entry(self._work)

    def begin(self) -> None:
        self._count = self._longest = 0
        self._idle.clear()
        self._running.set()

    def end(self) -> tuple[int, int]:
        self._running.clear()
        self._idle.wait()
        return self._count, self._longest

    def _work(self) -> None:
        clock, trap = time.perf_counter_ns, machine.trap
        while True:
            self._idle.set()
            self._running.wait()
            while self._running.is_set():
                start = clock()
                trap(Syscall.IDENTIFY, 1, 0, 0, 0, 0, 0, 0, 0, FOREVER_NS)
                self._longest = max(self._longest, clock() - start)
                self._count += 1
