"""Say that more answers were read than were given, so that more are written than there are places.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import Syscall
from tests.escape import rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ring = rings.Ring()
    for _ in range(3 * abi.RING_ENTRIES):
        ring.word(abi.COMPLETE_CONSUMED).value += 7
        ring.run(Syscall.YIELD, 0, 0)
    return None
