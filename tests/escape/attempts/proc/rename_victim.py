"""Open another process's name to write.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.close(os.open(f"/proc/{stage.pid}/comm", os.O_WRONLY))
    return True
