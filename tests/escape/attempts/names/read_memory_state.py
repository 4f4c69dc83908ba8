"""Ask what System V memory there is.

Stopped by: seccomp, namespaces
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return linux.system_call("shmctl", stage.shm, 2, linux.buffer(512)) == 0
