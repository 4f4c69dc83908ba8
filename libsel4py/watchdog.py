"""A driver's look at its device by the clock: what an interrupt that was lost should have told of.

    self.server.alarm = watchdog(lambda: self._disk.is_busy, self._disk.interrupted)

Rules. The clock runs only while the device owes something: a driver with nothing under way sleeps without end. What is
done then is what is done on an interrupt, so it must do no harm where nothing has happened, and where an interrupt
comes besides. A device that is slow is looked at again and again, and left alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from libsel4py.server import Alarm

# Of waiting for a device, until it is looked at: a look is a few port accesses, which is next to nothing five times a
# second, and who waits goes on before a person wonders.
LOOK_S: Final = 0.2


def watchdog(
    owes: Callable[[], bool], look: Callable[[], None], seconds: Callable[[], float] = lambda: LOOK_S
) -> Alarm:
    """An `Alarm` for a server that drives a device.

    Args:
        owes: whether the device is to interrupt for something. look: what to do as if it had interrupted.
        seconds: from when it is seen to owe something to the look, and from look to look; what is asked for while one
            is due can only have it come sooner.
    """
    return _Watchdog(owes, look, seconds).alarm()


class _Watchdog:
    def __init__(self, owes: Callable[[], bool], look: Callable[[], None], seconds: Callable[[], float]) -> None:
        self._owes = owes
        self._look = look
        self._seconds = seconds
        self._due = math.inf

    def alarm(self) -> Alarm:
        return Alarm(self._next, self._ring)

    def _next(self) -> float:
        if not self._owes():
            self._due = math.inf
        else:
            self._due = min(self._due, time.monotonic() + self._seconds())
        return self._due

    def _ring(self) -> None:
        self._due = math.inf
        self._look()
