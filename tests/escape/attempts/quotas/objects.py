"""Make endpoints until the memory or the space is full.

Stopped by: kernel
Outside: no, they are paid for
"""

from __future__ import annotations

from libsel4py.abi import ObjectType
from libsel4py.capabilities import CNode, Untyped
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for slot in range(slots.FREE, slots.END):
        Untyped(slots.OWN_MEMORY).retype(ObjectType.ENDPOINT, 0, CNode(slots.OWN_CNODE), slot)
    Untyped(slots.OWN_MEMORY).retype(ObjectType.ENDPOINT, 0, CNode(slots.OWN_CNODE), slots.END, 1)
    return True
