"""Make objects into slots that are full, to put one's own in another's place.

Stopped by: kernel
Outside: no, a slot that is full stays
"""

from __future__ import annotations

from libsel4py.abi import ObjectType
from libsel4py.capabilities import CNode, Untyped
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    Untyped(slots.OWN_MEMORY).retype(ObjectType.ENDPOINT, 0, CNode(slots.OWN_CNODE), slots.WITNESS, 1)
    return True
