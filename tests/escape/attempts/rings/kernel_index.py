"""Write over the kernel's own indices.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

import os

from libsel4py import abi
from libsel4py.abi import Syscall
from tests.escape import rings, slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ring = rings.Ring()
    ring.word(abi.SUBMIT_CONSUMED).value = 0x12345
    ring.word(abi.COMPLETE_PRODUCED).value = 0x54321
    os.eventfd_write(rings.DOORBELL, 1)
    index = ring.word(abi.SUBMIT_PRODUCED).value
    ring.place(index, Syscall.CALL, slots.WITNESS, 0x900)
    ring.publish(index + 1)
    return None
