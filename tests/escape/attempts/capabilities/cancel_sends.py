"""Cancel what others with the same badge are sending.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import CNode
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    CNode(slots.OWN_CNODE).cancel_badged_sends(slots.WITNESS, slots.RADIX)
    return True
