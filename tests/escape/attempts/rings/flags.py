"""Submit entries with every flag, and tails of random bytes.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

import ctypes
import random
import struct

from libsel4py import abi
from libsel4py.abi import Syscall
from tests.escape import rings, slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ring, chance = rings.Ring(), random.Random(3)
    start = ring.word(abi.SUBMIT_PRODUCED).value
    tails = ring.frame + abi.SUBMIT_TAILS
    ctypes.memmove(tails, chance.randbytes(4096), 4096)
    for index in range(start, start + 8):
        info = abi.message_info(0x900, chance.randrange(120), 3)
        ring.write(index, struct.pack("<iI7Q", Syscall.CALL, 0xFFFFFFFF, slots.WITNESS, info, 0, 0, 0, 0, index))
    ring.publish(start + 8)
    ring.wait(abi.COMPLETE_PRODUCED, start + 8)
