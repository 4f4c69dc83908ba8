"""Connect as many channels as the own memory has room for.

Stopped by: kernel
Outside: no, they are paid for
"""

from __future__ import annotations

from libsel4py.abi import ObjectType
from libsel4py.capabilities import Channel, CNode, Endpoint, Untyped
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    Untyped(slots.OWN_MEMORY).retype(ObjectType.CHANNEL, 0, CNode(slots.OWN_CNODE), slots.FREE, 7)
    for number in range(7):
        Channel(slots.FREE + number).connect(Endpoint(slots.WITNESS))
    return None
