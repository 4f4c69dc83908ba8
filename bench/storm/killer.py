"""Kills one task of a system so many times a second, for some seconds or until it is told to stop."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from pathlib import Path
from types import TracebackType

from deploy.management import Management, Refused

SPREAD = (0.5, 1.5)  # of the time between two kills: no server does the same thing at each of them


class Killer:
    """A context manager. ``kills``: how many met a process.

    Args:
        rate: orders a second; 0: none. seconds: how long, at most.
    """

    def __init__(self, folder: Path, task: str, rate: int, seconds: float, seed: int) -> None:
        self.kills = 0
        self._seconds = seconds
        self._folder, self._task, self._rate = folder, task, rate
        self._chance = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None

    def __enter__(self) -> Killer:
        if self._rate:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._rate:
            self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            with Management(self._folder) as management:
                due = time.monotonic()
                end = due + self._seconds
                while due < end:
                    due += self._chance.uniform(*SPREAD) / self._rate
                    if self._over.wait(max(0.0, due - time.monotonic())):
                        return
                    with contextlib.suppress(Refused):  # its next life has not begun yet
                        management.request("kill", task=self._task)
                        self.kills += 1
        except BaseException as found:
            self._error = found
