"""Write ones over the whole trap frame.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

import ctypes
import os
import time

from libsel4py import abi
from tests.escape import rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ctypes.memset(rings.frame(), 0xFF, 1 << abi.TRAP_FRAME_BITS)
    os.eventfd_write(rings.DOORBELL, 1)
    time.sleep(0.05)
