"""Connect to an endpoint with less than the right to be answered.

Stopped by: kernel
Outside: no, a channel takes the right to be answered
"""

from __future__ import annotations

from libsel4py.abi import ObjectType, Rights
from libsel4py.capabilities import Channel, CNode, Endpoint, Untyped
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    own = CNode(slots.OWN_CNODE)
    own.copy(slots.FREE + 1, own, slots.WITNESS, Rights.WRITE, dest_depth=slots.RADIX, src_depth=slots.RADIX)
    Untyped(slots.OWN_MEMORY).retype(ObjectType.CHANNEL, 0, CNode(slots.OWN_CNODE), slots.FREE, 1)
    return Channel(slots.FREE).connect(Endpoint(slots.FREE + 1))
