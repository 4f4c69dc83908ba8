"""Write zeroes over the whole page, as if it were gone.

Stopped by: sdk
Outside: no, a channel exists inside alone
"""

from __future__ import annotations

import ctypes

from libsel4py import abi
from tests.escape import rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ctypes.memset(rings.connected(), 0, abi.CHANNEL_BYTES)
    return None
