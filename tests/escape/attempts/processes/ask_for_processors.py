"""Ask where the victim may run, which proves that it is there.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return os.sched_getaffinity(stage.pid)
