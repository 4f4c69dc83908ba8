"""Take the index of what was written back.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

from libsel4py import abi
from tests.escape import rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ring = rings.Ring()
    ring.refused(ring.word(abi.SUBMIT_PRODUCED).value - 1)
