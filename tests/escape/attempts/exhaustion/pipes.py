"""Fill pipes, which keep memory that nobody counts.

Stopped by: limits
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    held = 0
    for _ in range(300):
        _, writer = os.pipe()
        os.set_blocking(writer, False)
        held += os.write(writer, bytes(65536))
    return held
