"""Look for memory, files and sockets that were left open by those before.

Stopped by: descriptors
Outside: works
"""

from __future__ import annotations

import contextlib
import os
import stat

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for number in range(3, 4096):
        with contextlib.suppress(OSError):
            mode = os.fstat(number).st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                return number
    return None
