"""Take the bytes out of a frame that may be read, madvise(2).

Stopped by: mmu
Outside: granted
"""

from __future__ import annotations

from typing import Final

from libsel4py import abi
from libsel4py.abi import Rights
from libsel4py.capabilities import Frame, VSpace
from tests.escape import linux, rings, slots
from tests.escape.stage import Stage

PLACE: Final = abi.MAPPING_BASE + (1 << 30)


def attempt(_stage: Stage) -> object:
    Frame(slots.CANARY).map(PLACE, Rights.READ | Rights.WRITE, vspace=VSpace(slots.OWN_VSPACE))
    assert rings.word(PLACE).value
    linux.system_call("madvise", PLACE, 4096, 9)
    return rings.word(PLACE).value == 0
