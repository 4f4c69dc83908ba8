"""Map a frame that may be read as one that may be written.

Stopped by: kernel, mmu
Outside: granted
"""

from __future__ import annotations

from typing import Final

from libsel4py import abi
from libsel4py.abi import Rights
from libsel4py.capabilities import Frame, VSpace
from tests.escape import rings, slots
from tests.escape.stage import Stage

PLACE: Final = abi.MAPPING_BASE + (1 << 30)


def attempt(_stage: Stage) -> object:
    Frame(slots.CANARY).map(PLACE, Rights.READ | Rights.WRITE, vspace=VSpace(slots.OWN_VSPACE))
    rings.word(PLACE).value = 7
    return rings.word(PLACE).value == 7
