"""Set a limit that nobody reads, in the upper half of the pointer's own place.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import resource
import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    now = linux.buffer(struct.pack("<QQ", *(each & (1 << 64) - 1 for each in resource.getrlimit(resource.RLIMIT_CORE))))
    linux.system_call("prlimit64", 0, 4, now, 0)
    return True
