"""A peer as the bench sees it: a client process that takes orders, and its server; both stopped out of their turn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from bench.ipc.placement import Placement, best, pin, place, processors

END_SECONDS = 5.0
TRIAL_SECONDS = 0.03
TRIALS = 2


class Peer:
    """Processes that speak the protocol of `bench.ipc.stand`. A context manager.

    A peer that looks without a pause would take a processor from whoever is measured, so all are stopped (SIGSTOP) but
    for the time of an order.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._command = command
        self._pids: list[int] = []
        self._pids = [int(pid) for pid in self._line().split()]
        self._signal(signal.SIGSTOP)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._command)} ended with status {self._process.wait()}")
        return line

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def order(self, text: str) -> list[float]:
        """Give an order and wait for its numbers. Raises RuntimeError if the peer has ended instead."""
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write(text + "\n")
            self._process.stdin.flush()
            return [float(number) for number in self._line().split()]
        finally:
            self._signal(signal.SIGSTOP)

    def place(self, placement: Placement) -> None:
        clients, servers = self._pids[0::2], self._pids[1::2]
        if servers:
            place(placement, clients, servers)
        else:
            pin(clients, processors() if placement is Placement.FREE else processors()[:1])

    def best_placement(self, order: str) -> Placement:
        """Where the order, which takes `TRIAL_SECONDS`, gives the smallest number; the peer is left there."""

        def measure(placement: Placement) -> float:
            self.place(placement)
            return min(self.order(order)[0] for _ in range(TRIALS))

        found = best(measure)
        self.place(found)
        return found

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._signal(signal.SIGCONT)
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def python(module: str, *arguments: str) -> list[str]:
    """The command of a peer that is written in Python."""
    return [sys.executable, "-m", f"bench.ipc.{module}", *arguments]
