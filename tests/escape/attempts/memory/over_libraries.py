"""Lay private memory over mappings that others count, by one long call.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import mmap

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    place = linux.memory(64 << 20, 0)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10
    linux.system_call("mmap", place, 64 << 20, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    return True
