"""Unmap the own trap frame, and ring.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

import os

from libsel4py import abi
from tests.escape import linux, rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("munmap", rings.frame(), 1 << abi.TRAP_FRAME_BITS)
    os.eventfd_write(rings.DOORBELL, 1)
    return None
