"""The kernel's own log: the one place where its lines are made.

A line tells of tasks in words that tasks chose (names, reasons), and is made as often as a task does what it tells of.
So each line is cleaned: one line, of bounded length, without a character that a terminal would obey. And each kind of
line has a bucket of tokens: `BURST` lines at once, then one in `PERIOD_S`. What is left out is counted, and told with
the last such line when the next token comes. All tasks share a kind's bucket: by tasks, the table would be theirs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

BURST: Final = 20
PERIOD_S: Final = 1.0
LONGEST: Final = 500  # characters of a line


class LineKind(Enum):
    START = "a thread does not start"
    END = "a process is ended"
    DEVICE = "a device needs a reset"
    SYSTEM = "of the system itself"


class Timers(Protocol):
    """Of an event loop: seconds on its own clock, and a call at a later time."""

    def time(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[[], object]) -> object: ...


@dataclass(slots=True)
class _Bucket:
    """Tokens at a time; lines left out since the last one that was written, and the last of them."""

    tokens: float
    at: float
    left_out: int = 0
    last: str = ""


class KernelLog:
    """Writes to ``descriptor``, which stays the caller's. `publish` is told each written line, without its time."""

    def __init__(self, descriptor: int, timers: Timers, publish: Callable[[str], None] = lambda text: None) -> None:
        self._descriptor = descriptor
        self._timers = timers
        self._publish = publish
        self._buckets = {kind: _Bucket(BURST, timers.time()) for kind in LineKind}

    def write(self, kind: LineKind, text: str) -> None:
        """Write a line, or count it if there have been too many of its kind."""
        bucket = self._buckets[kind]
        if not bucket.left_out and self._try_take(bucket):
            self._write(clean(text))
            return
        if not bucket.left_out:
            self._timers.call_later(PERIOD_S, lambda: self._tell_left_out(bucket))
        bucket.left_out += 1
        bucket.last = text

    def close(self) -> None:
        """Tell what was left out and is not told yet."""
        for bucket in self._buckets.values():
            self._tell_left_out(bucket)

    def _try_take(self, bucket: _Bucket) -> bool:
        now = self._timers.time()
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) / PERIOD_S)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _tell_left_out(self, bucket: _Bucket) -> None:
        """Its own token came while it waited, unless the loop's clock is coarse, or the log is closed: it is owed."""
        if not bucket.left_out:
            return
        if not self._try_take(bucket):
            bucket.tokens -= 1
        count, bucket.left_out = bucket.left_out, 0
        self._write(f"{count} similar line{'s' if count > 1 else ''} left out; the last one: {clean(bucket.last)}")

    def _write(self, line: str) -> None:
        data = f"{time.strftime('%H:%M:%S')} {line}\n".encode(errors="backslashreplace")
        # A full disk must not end the system, and there is nobody else to tell.
        with contextlib.suppress(OSError):
            os.write(self._descriptor, data)
        self._publish(line)


def clean(text: str) -> str:
    """The text as one line of at most LONGEST characters, what is not printable written as an escape."""
    short = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    if short.isprintable():
        return short
    plain = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in short)
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…"
