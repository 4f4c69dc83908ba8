"""Read how much of the processor the victim has used, by its clock's number.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import time

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return time.clock_gettime((~stage.pid << 3) | 2) > 0
