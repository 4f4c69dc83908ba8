"""Put a capability of one's own where another will find it.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import CNode
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    own = CNode(slots.OWN_CNODE)
    CNode(slots.VICTIM_CNODE).copy(2, own, slots.SIGNAL, dest_depth=slots.RADIX, src_depth=slots.RADIX)
    CNode(slots.VICTIM_CNODE).delete(2, slots.RADIX)
    return True
