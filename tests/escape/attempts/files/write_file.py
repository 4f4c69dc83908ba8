"""Write into a file of the victim's.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    opened = os.open(stage.path("file"), os.O_WRONLY)
    return os.write(opened, b"x")
