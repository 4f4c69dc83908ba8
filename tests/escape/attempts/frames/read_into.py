"""Have the host write into a frame that may be read.

Stopped by: mmu
Outside: granted
"""

from __future__ import annotations

import os
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
    reader, writer = os.pipe()
    os.write(writer, b"12345678")
    return linux.system_call("read", reader, PLACE, 8) == 8
