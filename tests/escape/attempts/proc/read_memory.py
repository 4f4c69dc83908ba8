"""Read the victim's memory by its file under /proc.

Stopped by: landlock, seccomp, pid
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    opened = os.open(f"/proc/{stage.pid}/mem", os.O_RDONLY)
    return stage.is_secret(os.pread(opened, 16, stage.address))
