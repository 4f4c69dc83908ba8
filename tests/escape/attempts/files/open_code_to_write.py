"""Open the code that other tasks run, to change it.

Stopped by: seccomp, landlock
Outside: owner
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.close(os.open(__file__, os.O_RDWR))
    return True
