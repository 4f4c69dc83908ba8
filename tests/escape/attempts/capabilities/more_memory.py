"""Make an object larger than the own memory.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.abi import ObjectType
from libsel4py.capabilities import CNode, Untyped
from libsel4py.lowlevel.identify import identify
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    source = slots.MEMORY if identify(slots.MEMORY).type == "UNTYPED" else slots.OWN_MEMORY
    Untyped(source).retype(ObjectType.FRAME, slots.MEMORY_BITS + 2, CNode(slots.OWN_CNODE), slots.FREE, 1)
    return True
