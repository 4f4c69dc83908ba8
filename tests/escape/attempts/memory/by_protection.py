"""Have much address space, which costs nothing, and make it writable afterwards.

Stopped by: limits
Outside: works
"""

from __future__ import annotations

import mmap

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    place = linux.memory(2 << 30, 0)
    linux.system_call("mprotect", place, 2 << 30, mmap.PROT_READ | mmap.PROT_WRITE)
    return True
