"""Map a frame into another's memory.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import Rights
from libsel4py.capabilities import Frame, VSpace
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    Frame(slots.CANARY).map(abi.MAPPING_BASE, Rights.READ, vspace=VSpace(slots.VICTIM_VSPACE))
    return True
