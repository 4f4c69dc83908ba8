"""Open the own log anew by its descriptor's link, to read and change what was written.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    opened = os.open("/proc/self/fd/1", os.O_RDWR | os.O_NONBLOCK)
    os.close(opened)
    return True
