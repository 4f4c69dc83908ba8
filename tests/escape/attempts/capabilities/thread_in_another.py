"""Make a thread in another's process.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import ObjectType
from libsel4py.capabilities import TCB, CNode, Frame, Untyped, VSpace
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    own = slots.OWN_CNODE
    Untyped(slots.OWN_MEMORY).retype(ObjectType.TCB, 0, CNode(own), slots.FREE, 1)
    Untyped(slots.OWN_MEMORY).retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS, CNode(own), slots.FREE + 1, 1)
    guard = abi.cnode_cap_data(0, abi.WORD_BITS - slots.RADIX)
    frame = Frame(slots.FREE + 1)
    TCB(slots.FREE).configure(CNode(own), guard, VSpace(slots.VICTIM_VSPACE), 0, 0x20_0000_0000, frame)
    return True
