"""Write random bytes over the page, two hundred times.

Stopped by: sdk
Outside: no, a channel exists inside alone
"""

from __future__ import annotations

import ctypes
import random

from tests.escape import rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    page, chance = rings.connected(), random.Random(5)
    for _ in range(200):
        ctypes.memmove(page, chance.randbytes(0x400), 0x400)
    return None
