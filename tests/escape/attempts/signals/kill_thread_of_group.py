"""Signal a thread of the victim's by tgkill(2), which is allowed for one's own.

Stopped by: seccomp, pid, landlock
Outside: works
"""

from __future__ import annotations

import signal

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call("tgkill", stage.pid, stage.pid, signal.SIGUSR1)
    return True
