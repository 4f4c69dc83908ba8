"""Signal everything that may be signalled, by number 0.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.kill(-1, 0)
    return True
