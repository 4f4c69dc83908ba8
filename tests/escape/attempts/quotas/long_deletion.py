"""Make and delete a capability space as large as the own memory, again and again.

Stopped by: kernel
Outside: no, long work is cut into steps
"""

from __future__ import annotations

from libsel4py.abi import ObjectType
from libsel4py.capabilities import CNode, Untyped
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    own = CNode(slots.OWN_CNODE)
    for _ in range(20):
        Untyped(slots.OWN_MEMORY).retype(ObjectType.CNODE, 11, CNode(slots.OWN_CNODE), slots.FREE, 1)
        own.delete(slots.FREE, slots.RADIX)
    return None
