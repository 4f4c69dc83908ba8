"""Signal the process group.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.killpg(0, 0)
    return True
