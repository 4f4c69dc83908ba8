"""Copy a frame that may be read with the right to write.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.abi import Rights
from libsel4py.capabilities import CNode
from libsel4py.lowlevel.identify import identify
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    own = CNode(slots.OWN_CNODE)
    own.copy(slots.FREE, own, slots.CANARY, Rights.ALL, dest_depth=slots.RADIX, src_depth=slots.RADIX)
    return "W" in identify(slots.FREE).rights
