"""Write an answer into one's own completion ring, as if the witness had sent it.

Stopped by: kernel
Outside: no, it fools oneself alone
"""

from __future__ import annotations

import ctypes

from libsel4py import abi
from libsel4py.abi import Syscall
from tests.escape import rings, slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    address = rings.frame()
    ctypes.memset(address + abi.COMPLETE_RING, 0xFF, abi.RING_ENTRIES * abi.RING_ENTRY_BYTES)
    ring = rings.Ring()
    ring.run(Syscall.CALL, slots.WITNESS, 0x900, 1)
    return None
