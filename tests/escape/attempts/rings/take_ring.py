"""Take what the doorbell says before the kernel does.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

import contextlib
import os

from tests.escape import rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.set_blocking(rings.DOORBELL, False)
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(rings.DOORBELL, 1)
            os.eventfd_read(rings.DOORBELL)
    return None
