"""Give another thread one's own capability space.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.capabilities import TCB, CNode, VSpace
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    guard = abi.cnode_cap_data(0, abi.WORD_BITS - slots.RADIX)
    TCB(slots.VICTIM).set_space(None, CNode(slots.OWN_CNODE), guard, VSpace(slots.VICTIM_VSPACE), 0)
    return True
