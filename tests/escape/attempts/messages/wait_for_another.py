"""Take signals that another waits for.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import Notification
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    Notification(slots.SIGNAL).poll()
    return True
