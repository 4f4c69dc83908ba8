"""Make a second object of memory that is one already, which could then be written as if it were capabilities.

Stopped by: kernel
Outside: no, memory is one object's
"""

from __future__ import annotations

from libsel4py.abi import ObjectType
from libsel4py.capabilities import CNode, Untyped
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    Untyped(slots.OWN_MEMORY).retype(ObjectType.FRAME, slots.MEMORY_BITS, CNode(slots.OWN_CNODE), slots.FREE, 1)
    Untyped(slots.OWN_MEMORY).retype(ObjectType.CNODE, slots.RADIX, CNode(slots.OWN_CNODE), slots.FREE + 1, 1)
    return True
