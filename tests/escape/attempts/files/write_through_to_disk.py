"""Hold up the host's disk: have each write be on the medium before it returns (RWF_SYNC), as fsync(2) would.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage

LOG = 1
LINE = b"written through\n"
SYNC = 0x4


def attempt(_stage: Stage) -> object:
    part = linux.vector(linux.buffer(LINE), len(LINE))
    return linux.system_call("pwritev2", LOG, part, 1, 0, 0, SYNC)
