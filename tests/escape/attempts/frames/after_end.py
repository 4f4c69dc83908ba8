"""Go on to use a frame whose capability was deleted.

Stopped by: kernel, mmu
Outside: no, memory goes with its capability
"""

from __future__ import annotations

from typing import Final

from libsel4py import abi
from libsel4py.abi import ObjectType, Rights
from libsel4py.capabilities import CNode, Frame, Untyped, VSpace
from tests.escape import rings, slots
from tests.escape.stage import Stage

PLACE: Final = abi.MAPPING_BASE + (1 << 30)


def attempt(_stage: Stage) -> object:
    Untyped(slots.OWN_MEMORY).retype(ObjectType.FRAME, 12, CNode(slots.OWN_CNODE), slots.FREE, 1)
    Frame(slots.FREE).map(PLACE, Rights.READ | Rights.WRITE, vspace=VSpace(slots.OWN_VSPACE))
    rings.word(PLACE).value = 7
    CNode(slots.OWN_CNODE).delete(slots.FREE, slots.RADIX)
    return rings.word(PLACE).value == 7
