"""Answer requests that the kernel has not made, until the socket is full.

Stopped by: kernel
Outside: no, the socket is the kernel's other end
"""

from __future__ import annotations

import contextlib
import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.set_blocking(5, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(5, bytes(64)):
            pass
    return None
