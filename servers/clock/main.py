"""Time for tasks that wait for it: a clock (`libsel4py.interfaces.clock`), and a timer that is a data space, ``timer``.

Its time is the host's monotonic clock, from the moment at which this server's first life began if it has a ``state``
(16K), else from this life's. It needs no device: it waits in its receive. Reading the data space gives the nanoseconds
since then, in 8 bytes (little-endian); writing 8 such bytes waits so long. Who waits when it dies is told that, and
waits anew.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from dataclasses import dataclass, field
from typing import Final

import msgspec

from libsel4py import component
from libsel4py.context import DEFER, ReplyToken
from libsel4py.data_server import Content, DataServer
from libsel4py.errors import TooManyDeferred
from libsel4py.interfaces.clock import Clock
from libsel4py.interfaces.data_space import DataGone, NotPossible, OpenFlags
from libsel4py.server import Alarm

INSTANT_BYTES: Final = 8
MOST_WAITS: Final = 16  # of one client, those included that it, or a former life of it, has given up
LEAST_CLIENTS: Final = 4
_NS: Final = 1_000_000_000


class Began(msgspec.Struct):
    """When the first life began, in nanoseconds of the host's clock; 0: not yet."""

    at: int = 0


@dataclass(slots=True, order=True)
class Wait:
    """Somebody who waits until `Main.now` has reached an instant; the next one is the least, the first of equals."""

    instant: int
    number: int
    token: ReplyToken = field(compare=False)
    timer: Timer | None = field(compare=False)  # by which he waits; None: by `Clock`


class Timer(Content):
    """The clock as a data space."""

    has_offsets = False

    def __init__(self, clock: Main) -> None:
        self._clock = clock

    def read(self, offset: int, length: int) -> bytes:
        if length < INSTANT_BYTES:
            raise NotPossible(f"a timer is read by {INSTANT_BYTES} bytes at a time, not by {length}")
        return self._clock.now().to_bytes(INSTANT_BYTES, "little")

    def write(self, offset: int, data: bytes) -> int:
        if len(data) != INSTANT_BYTES:
            raise NotPossible(f"a timer takes {INSTANT_BYTES} bytes, the nanoseconds to wait, and not {len(data)}")
        self._clock.wait(self._clock.now() + int.from_bytes(data, "little"), self)
        return DEFER

    def close(self) -> None:
        self._clock.let_go(self)


@component
class Main(Clock, DataServer):
    """The clock."""

    data_space_name = "timer"

    def start(self) -> None:
        kept = self.kept(Began)
        now = time.monotonic_ns()
        if not 0 < kept.value.at <= now:  # resumed, and the host has begun anew since
            kept.value.at = now
            kept.commit()
        self._began = kept.value.at
        self._waiting: list[Wait] = []  # the next one first
        self._order = itertools.count()
        self.server.alarm = Alarm(self._due, self._ring)
        clients = {each.caller.name for each in self.server.connections.values()}
        self.server.allow_deferred(MOST_WAITS * max(LEAST_CLIENTS, len(clients)))

    def now(self) -> int:
        return time.monotonic_ns() - self._began

    def time_of_day(self) -> int:
        return time.time_ns()

    def sleep(self, nanoseconds: int) -> None:
        self.wait(self.now() + nanoseconds)

    def sleep_until(self, instant: int) -> None:
        self.wait(instant)

    def data_space(self, name: str, how: OpenFlags, size: int) -> Content:
        return Timer(self)

    def wait(self, instant: int, timer: Timer | None = None) -> None:
        """Answer the caller when `now` has reached ``instant``.

        Of who waits too often already what he has asked for first is refused: most likely he has given that up.
        """
        owner = self.caller.name
        own = [each for each in self._waiting if each.token.caller.name == owner]
        if len(own) >= MOST_WAITS:
            first = min(own, key=lambda each: each.number)
            self._end([first], TooManyDeferred(f"{owner} has asked {MOST_WAITS} times since: ask again later"))
        heapq.heappush(self._waiting, Wait(instant, next(self._order), self.defer_reply(), timer))

    def let_go(self, timer: Timer) -> None:
        """Who waits by this data space waits no more."""
        own = [each for each in self._waiting if each.timer is timer]
        self._end(own, DataGone("the data space was closed"))

    def _end(self, waits: list[Wait], why: Exception) -> None:
        self._waiting = [each for each in self._waiting if each not in waits]
        heapq.heapify(self._waiting)
        for each in waits:
            each.token.fail(why)

    def _due(self) -> float:
        return (self._waiting[0].instant + self._began) / _NS if self._waiting else math.inf

    def _ring(self) -> None:
        now = self.now()
        while self._waiting and self._waiting[0].instant <= now:
            wait = heapq.heappop(self._waiting)
            wait.token.complete(None if wait.timer is None else INSTANT_BYTES)
