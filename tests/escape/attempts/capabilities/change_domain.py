"""Change to another time partition.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import TCB, Domain
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    Domain(slots.DOMAIN).set(0, TCB(slots.OWN_TCB))
    return True
