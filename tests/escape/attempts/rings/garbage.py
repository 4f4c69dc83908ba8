"""Submit entries of random bytes.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

import random

from libsel4py import abi
from tests.escape import rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ring, chance = rings.Ring(), random.Random(2)
    start = ring.word(abi.SUBMIT_PRODUCED).value
    for index in range(start, start + abi.RING_ENTRIES):
        ring.write(index, chance.randbytes(abi.RING_ENTRY_BYTES))
    ring.publish(start + abi.RING_ENTRIES)
    ring.wait(abi.COMPLETE_PRODUCED, start + abi.RING_ENTRIES)
