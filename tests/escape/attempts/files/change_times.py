"""Change when a file was changed.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.utime(stage.path("file"), (0, 0))
    return True
