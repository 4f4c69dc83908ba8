"""Ask for the victim's priority, which proves that it is there.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return os.getpriority(os.PRIO_PROCESS, stage.pid) > -21
