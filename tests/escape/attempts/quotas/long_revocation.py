"""Copy a capability into every slot that there is, and take all of them back at once.

Stopped by: kernel
Outside: no, long work is cut into steps
"""

from __future__ import annotations

from libsel4py.capabilities import CNode
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    own = CNode(slots.OWN_CNODE)
    for _ in range(10):
        for slot in range(slots.FREE, slots.END):
            own.copy(slot, own, slots.OWN_MEMORY, dest_depth=slots.RADIX, src_depth=slots.RADIX)
        own.revoke(slots.OWN_MEMORY, slots.RADIX)
    return None
