"""Make a folder.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.mkdir(stage.path("made"))
    return True
