"""Make a mapping writable that was made to be read, of a file that is open to be read and written.

Stopped by: mmu, seccomp
Outside: works
"""

from __future__ import annotations

import ctypes
import mmap

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    place = linux.shared_mapping(4096, mmap.PROT_READ)
    linux.system_call("mprotect", place, 4096, mmap.PROT_READ | mmap.PROT_WRITE)
    ctypes.memset(place, 1, 1)
    return True
