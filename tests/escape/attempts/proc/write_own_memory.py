"""Write over one's own read-only memory by /proc/self/mem, which does not look at what a mapping allows.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import mmap
import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    place = linux.memory(4096, mmap.PROT_READ)
    opened = os.open("/proc/self/mem", os.O_RDWR)
    os.pwrite(opened, b"x", place)
    return linux.bytes_at(place, 1) == b"x"
