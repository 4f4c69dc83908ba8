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
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from libsel4py.request_ids import repeats

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
        self.attempts = self.failed = self.repeated = self.wrong = self.lost = self.checks = self.kept_checks = 0
        self._texts: list[str] = []
        self._spent: Counter[int] = Counter()
        self.tell()  # so that one whose first attempt never ends is known

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """One request and what it takes. An error of those that are counted ends the block, and is not raised."""
        started, repeated = self._clock(), repeats()
        try:
            yield
        except self._errors as error:
            self.failed += 1
            self._keep(f"{type(error).__name__}: {error}")
        finally:
            now = self._clock()
            self.attempts += 1
            self.repeated += repeats() - repeated
            self._spent[bucket(round((now - started) * 1e6))] += 1
            if now - self._told >= REPORT_SECONDS:
                self.tell()

    def check(self, right: bool, what: str, *, kept: bool = False) -> None:
        """Count what must be true whatever was killed: no wrong byte, nothing lost, nothing done twice.

        ``kept`` says that a server had acknowledged what was looked for: where it is not right, data was lost.
        """
        self.checks += 1
        self.kept_checks += kept
        if not right:
            self.wrong += 1
            self.lost += kept
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
            "repeated": self.repeated,
            "checks": self.checks,
            "kept_checks": self.kept_checks,
            "wrong": self.wrong,
            "lost": self.lost,
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


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all do not exceed. ``values`` is not empty."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def percentile_of(spent: Mapping[int, int], share: float) -> int:
    """Likewise of a histogram, number by bucket: microseconds, the end of the bucket; 0 if it is empty."""
    total, seen = sum(spent.values()), 0
    for number in sorted(spent):
        seen += spent[number]
        if seen >= share * total:
            return bucket_end(number)
    return 0


def _to_log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
