"""Ctrl-C for the command that runs: the console tells a thread of the shell, and that interrupts the first one.

Rules. The console says it of the command that it was asked for, so that none that comes later is ended by it. What ends
is what the first thread does: KeyboardInterrupt is raised there while a command runs, and never else; a call that waits
is withdrawn (`hw/_cpu/trap.c`). Without a second thread nobody asks, and Ctrl-C is the next line's. Between commands
that thread waits in the kernel, so that it is seen to wait, and takes no turn of others.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from libsel4py.errors import KernelError, RemoteError, ServerDied, ServiceError
from libsel4py.interfaces.console import Console

SIGNAL: Final = signal.SIGUSR1


class Interrupts:
    """The shell's. `begin` and `run` are for its first thread, `watch` for another one."""

    def __init__(self) -> None:
        self._console: Console | None = None
        self._ring: Callable[[], None] = lambda: None
        self._wait: Callable[[], None] = lambda: None
        self._first = 0
        self._lock = threading.Lock()
        self._command = 0  # the last one that began: a number above all before, in former lives too
        self._stopped = 0  # the last one that is to end
        self._is_running = False

    def begin(self, console: Console, ring: Callable[[], None], wait: Callable[[], None]) -> None:
        """This console tells of Ctrl-C, and the calling thread is the one that runs commands.

        Args:
            ring, wait: of a bell; it is rung for who watches, at each command's beginning.
        """
        self._console, self._first = console, threading.get_ident()
        self._ring, self._wait = ring, wait
        signal.signal(SIGNAL, self._handle)

    def run(self, command: Callable[[], None]) -> None:
        """Carry out a command. Raises KeyboardInterrupt where Ctrl-C ends it, and what it raises."""
        with self._lock:
            self._command = max(self._command + 1, time.time_ns())
        self._ring()
        try:
            self._is_running = True
            self._ensure_not_stopped()
            command()
        finally:
            self._is_running = False
            if self._console is not None:
                self._console.end_command(self._command)

    def watch(self) -> None:
        """Ask the console, command by command. Behind `begin`."""
        assert self._console is not None
        while True:
            self._wait()
            last = self._command
            try:
                # A console that has begun anew does not know that a command is over: it would tell of that one alone.
                while self._console.wait_interrupt(last) and self._stop(last):
                    pass
            except (ServiceError, ServerDied, RemoteError, KernelError):
                continue  # in this command it is not told

    def _stop(self, command: int) -> bool:
        """False: another one has begun."""
        with self._lock:  # until it is sent no other command begins
            if self._command == command:
                self._stopped = command
                signal.pthread_kill(self._first, SIGNAL)
            return self._command == command

    def _handle(self, _: int, __: FrameType | None) -> None:
        self._ensure_not_stopped()

    def _ensure_not_stopped(self) -> None:
        if self._is_running and self._stopped == self._command:
            raise KeyboardInterrupt
