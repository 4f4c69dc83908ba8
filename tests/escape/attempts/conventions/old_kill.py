"""Signal the victim by the 32-bit convention.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import signal

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.old_call(37, stage.pid, signal.SIGUSR1)
    return True
