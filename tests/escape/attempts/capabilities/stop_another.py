"""Stop another thread.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import TCB
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    TCB(slots.VICTIM).suspend()
    return True
