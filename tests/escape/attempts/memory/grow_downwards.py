"""Have memory that grows by itself, as a stack does.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import mmap

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100
    return linux.system_call("mmap", 0, 1 << 20, 3, flags, -1, 0) > 0
