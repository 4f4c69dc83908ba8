"""Leave the own process group.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    child_free = os.getpid()
    os.setpgid(0, 0)
    return os.getpgid(0) == child_free
