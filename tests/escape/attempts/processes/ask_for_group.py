"""Ask for the victim's process group, which proves that it is there.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return os.getpgid(stage.pid) >= 0  # 0 where its leader is outside of this namespace
