"""Delete what another holds.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import CNode
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    CNode(slots.VICTIM_CNODE).delete(1, slots.RADIX)
    return True
