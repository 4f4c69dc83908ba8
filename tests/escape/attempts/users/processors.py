"""Run on processors of one's choice.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    return True
