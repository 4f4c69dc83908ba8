"""Make the mapping of a frame that may be read writable.

Stopped by: mmu
Outside: granted
"""

from __future__ import annotations

import mmap
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
    linux.system_call("mprotect", PLACE, 4096, mmap.PROT_READ | mmap.PROT_WRITE)
    rings.word(PLACE).value = 7
    return True
