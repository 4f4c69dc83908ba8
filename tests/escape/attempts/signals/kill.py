"""Signal the victim.

Stopped by: seccomp, pid, landlock
Outside: works
"""

from __future__ import annotations

import os
import signal

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.kill(stage.pid, signal.SIGUSR1)
    return True
