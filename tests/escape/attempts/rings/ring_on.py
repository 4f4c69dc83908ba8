"""Ring ten thousand times for nothing.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

import os

from tests.escape import rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for _ in range(10_000):
        os.eventfd_write(rings.DOORBELL, 1)
    return None
