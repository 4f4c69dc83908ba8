"""Signal five thousand times.

Stopped by: kernel
Outside: no, signals do not queue
"""

from __future__ import annotations

from libsel4py.capabilities import Notification
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for _ in range(5000):
        Notification(slots.SIGNAL).signal()
    return None
