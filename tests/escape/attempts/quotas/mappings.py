"""Map and unmap a frame without an end.

Stopped by: kernel
Outside: no, they are paid for
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import Rights
from libsel4py.capabilities import Frame, VSpace
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for _ in range(100):
        Frame(slots.CANARY).map(abi.MAPPING_BASE, Rights.READ, vspace=VSpace(slots.OWN_VSPACE))
        Frame(slots.CANARY).unmap()
    return None
