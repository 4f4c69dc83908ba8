"""Signal the victim by a number with bits above the lower 32.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import signal

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call(1 << 32 | linux.NUMBERS["kill"], stage.pid, signal.SIGUSR1)
    return True
