"""Signal a thread of the victim's by tkill(2).

Stopped by: seccomp, pid, landlock
Outside: works
"""

from __future__ import annotations

import signal

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call("tkill", stage.pid, signal.SIGUSR1)
    return True
