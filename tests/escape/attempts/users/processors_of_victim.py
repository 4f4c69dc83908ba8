"""Put the victim on a processor of one's choice.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.sched_setaffinity(stage.pid, os.sched_getaffinity(0))
    return True
