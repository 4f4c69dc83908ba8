"""The same, with a process's number whose upper half is set.

Stopped by: seccomp, pid, landlock
Outside: works
"""

from __future__ import annotations

import signal

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call("tgkill", 1 << 40 | stage.pid, stage.pid, signal.SIGUSR1)
    return True
