"""Make a file in the victim's folder.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.close(os.open(stage.path("created"), os.O_RDWR | os.O_CREAT, 0o600))
    return os.path.exists(stage.path("created"))
