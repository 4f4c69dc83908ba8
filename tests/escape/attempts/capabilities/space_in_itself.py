"""Put the own space into itself, for a look-up that never ends.

Stopped by: kernel
Outside: no, a look-up ends with its 64 bits
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.capabilities import CNode
from libsel4py.lowlevel.identify import identify
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    own = CNode(slots.OWN_CNODE)
    own.mint(slots.FREE, own, slots.OWN_CNODE, abi.cnode_cap_data(0, 0), dest_depth=slots.RADIX, src_depth=slots.RADIX)
    loop = int("".join(f"{slots.FREE:06b}" for _ in range(10)) + "0000", 2)
    return identify(loop).type != "NULL"
