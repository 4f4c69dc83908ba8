"""What a client sees while parts of the system are killed: counts that a workload tells, and `sel4py chaos` reads.

    load = Workload("orders")
    while True:
        with load.attempt():
            number = self.orders.place(order)
        load.check(number == expected, "an order was placed twice")

The counts go to the task's log as a line a second, each with all since the start, so that only the last one need be
read. A workload's own death loses what it had counted; its successor begins anew, and the lines of both are added.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

MARK: Final = "workload "  # begins a line of counts
STEPS: Final = 4  # a doubling of time is so many buckets
REPORT_SECONDS: Final = 1.0
KEPT_TEXTS: Final = 5  # of errors, and of what was wrong: the first ones
_TEXT_CHARACTERS: Final = 200


class Workload:
    """The counts of one client.

    Args:
        name: what the report calls it. errors: what an attempt may raise, and is counted; all else goes on upwards.
        write: where lines go. clock: seconds that never go back.
    """

    def __init__(
        self,
        name: str,
        errors: tuple[type[Exception], ...] = (Exception,),
        write: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._errors = errors
        self._write = write or _to_log
        self._clock = clock
        self._life = f"{time.time_ns():x}"
        self.attempts = self.failed = self.wrong = self.checks = 0
        self._texts: list[str] = []
        self._spent: Counter[int] = Counter()
        self._told = clock()

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """One request and what it takes. An error of those that are counted ends the block, and is not raised."""
        started = self._clock()
        try:
            yield
        except self._errors as error:
            self.failed += 1
            self._keep(f"{type(error).__name__}: {error}")
        finally:
            now = self._clock()
            self.attempts += 1
            self._spent[bucket(round((now - started) * 1e6))] += 1
            if now - self._told >= REPORT_SECONDS:
                self.tell()

    def check(self, right: bool, what: str) -> None:
        """Count what must be true whatever was killed: no wrong byte, nothing lost, nothing done twice."""
        self.checks += 1
        if not right:
            self.wrong += 1
            self._keep(f"WRONG: {what}")
            self.tell()

    def tell(self) -> None:
        """Tell all counts now."""
        self._told = self._clock()
        counts = {
            "workload": self.name,
            "life": self._life,
            "attempts": self.attempts,
            "failed": self.failed,
            "checks": self.checks,
            "wrong": self.wrong,
            "texts": self._texts,
            "spent": sorted(self._spent.items()),
        }
        self._write(MARK + json.dumps(counts))

    def _keep(self, text: str) -> None:
        if len(self._texts) < KEPT_TEXTS:
            self._texts.append(text[:_TEXT_CHARACTERS])


def bucket(microseconds: int) -> int:
    """Which bucket of the histogram a time falls into: `STEPS` equal ones in each doubling."""
    if microseconds < STEPS:
        return max(microseconds, 0)
    doubling = microseconds.bit_length() - STEPS.bit_length()
    return doubling * STEPS + (microseconds >> doubling)


def bucket_end(number: int) -> int:
    """Microseconds at which a bucket ends: no time in it is as long."""
    doubling, step = divmod(number, STEPS)
    if doubling < 1:
        return step + 1
    return (STEPS + step + 1) << doubling - 1


def _to_log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
