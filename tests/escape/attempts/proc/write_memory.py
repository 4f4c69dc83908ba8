"""Write into the victim's memory by its file under /proc.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    opened = os.open(f"/proc/{stage.pid}/mem", os.O_RDWR)
    return os.pwrite(opened, b"x", stage.address + 64)
