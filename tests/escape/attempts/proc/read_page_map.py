"""Ask where one's pages are in the host's memory.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return os.pread(os.open("/proc/self/pagemap", os.O_RDONLY), 8, 0x400000 >> 9)
