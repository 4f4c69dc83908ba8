"""Read and change the victim's limits.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return linux.system_call("prlimit64", stage.pid, 7, 0, linux.buffer(16)) == 0
