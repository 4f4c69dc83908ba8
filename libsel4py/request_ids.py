"""The client's half of remembered requests: ids by which a server knows a request again, and when it is repeated.

A request's id is two words. The first names a *lane*: of all calls that bear it, one at most is under way. The second
counts the lane's requests, so a request acknowledges the answers to all before it, and a server need remember only the
last one of each lane. A lane's name is drawn at random by the process that uses it: the next life of a client has other
lanes than the former one, and two tasks with copies of one capability, which their server cannot tell apart, have each
their own. `REPEATED` in the second word says that the request was sent before, to a server that died.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from libsel4py.errors import RequestForgotten, ServerDied

REPEATED: Final = 1 << 63

# A request of which its server dies again and again may be what kills it: whoever repeats it for ever keeps the server
# from all others. With the usual ten restarts in ten seconds the server is given up before.
MOST_REPEATS: Final = 16

clock: Final = time.monotonic_ns


@dataclass(slots=True)
class Lane:
    """One row of requests.

    A client that keeps a lane's name, and its count with what the answer has made of it, goes on in its next life as
    if it had not died (`libsel4py.interface.on_lane`): it says that the next request may have been sent before.

    Attributes:
        count: of the last request. unanswered: the next one is the last one again.
    """

    name: int
    count: int = 0
    unanswered: bool = False

    @classmethod
    def new(cls) -> Lane:
        """One that nobody else has."""
        return cls(int.from_bytes(os.urandom(8), "little"))

    def next(self) -> int:
        """The second word of the next request's id."""
        if self.unanswered:
            self.unanswered = False
            return self.count | REPEATED
        self.count += 1
        return self.count


_free: deque[Lane] = deque()  # of this process; append and pop are atomic


class _Repeats(threading.local):
    count = 0


_repeats = _Repeats()


def take_lane() -> Lane:
    """A lane that no call uses now."""
    try:
        return _free.pop()
    except IndexError:
        return Lane.new()


give_back_lane: Final = _free.append


def forget_lanes() -> None:
    """As a new process has none. For tests."""
    _free.clear()


def time_to_repeat(died: ServerDied, times: int, timeout_ns: int, begun_ns: int) -> int:
    """How long, in nanoseconds, the call that died may take when it is made again.

    Args:
        times: how often it has died. timeout_ns: of the whole call, which began at ``begun_ns`` of `clock`; negative
            for one that may take for ever.
    Raises:
        ServerDied: ``died`` itself, if it is not to be repeated, or if no time is left.
    """
    if times > MOST_REPEATS or isinstance(died, RequestForgotten):
        raise died
    left = timeout_ns
    if timeout_ns >= 0:
        left = begun_ns + timeout_ns - clock()
        if left <= 0:
            raise died
    _repeats.count += 1
    return left


def repeats() -> int:
    """How many requests this thread has made again so far because a server had died of them."""
    return _repeats.count
