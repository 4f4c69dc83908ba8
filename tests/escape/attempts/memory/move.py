"""Move a mapping, so that it escapes when the kernel takes the frame at its old address away.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    place = linux.memory(4096)
    return linux.system_call("mremap", place, 4096, 8192, 1) > 0
