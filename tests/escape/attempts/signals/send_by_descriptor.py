"""Signal the victim by a descriptor of it.

Stopped by: seccomp, pid, landlock
Outside: works
"""

from __future__ import annotations

import os
import signal

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    signal.pidfd_send_signal(os.pidfd_open(stage.pid), signal.SIGUSR1)
    return True
