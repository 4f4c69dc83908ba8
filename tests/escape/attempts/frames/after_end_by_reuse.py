"""Read what the last holder of memory left in it.

Stopped by: kernel
Outside: no, memory is empty when it is made anew
"""

from __future__ import annotations

from typing import Final

from libsel4py import abi
from libsel4py.abi import ObjectType, Rights
from libsel4py.capabilities import CNode, Frame, Untyped, VSpace
from tests.escape import linux, slots
from tests.escape.stage import Stage

PLACE: Final = abi.MAPPING_BASE + (1 << 30)


def attempt(_stage: Stage) -> object:
    Untyped(slots.OWN_MEMORY).retype(ObjectType.FRAME, 14, CNode(slots.OWN_CNODE), slots.FREE, 2)
    for number in (0, 1):
        Frame(slots.FREE + number).map(PLACE + number * 0x4000, Rights.READ, vspace=VSpace(slots.OWN_VSPACE))
    return any(linux.bytes_at(PLACE, 0x8000))
