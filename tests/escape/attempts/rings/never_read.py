"""Read no answer, so that the ring of answers is full.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import Syscall
from tests.escape import rings, slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ring = rings.Ring()
    for _ in range(2 * abi.RING_ENTRIES):
        ring.run(Syscall.NB_SEND, slots.WITNESS, 0x900)
    return None
