"""Send nonsense to the kernel by the control socket.

Stopped by: kernel
Outside: no, the socket is the kernel's other end
"""

from __future__ import annotations

import os
import random

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    chance = random.Random(4)
    for size in (1, 4, 8, 64, 200):
        os.write(5, chance.randbytes(size))
    return None
