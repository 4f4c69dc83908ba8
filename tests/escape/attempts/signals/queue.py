"""Queue a signal with a word of one's own.

Stopped by: seccomp, pid, landlock
Outside: works
"""

from __future__ import annotations

import signal
import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    information = linux.buffer(struct.pack("<iii", signal.SIGUSR1, 0, -1) + bytes(116))
    linux.system_call("rt_sigqueueinfo", stage.pid, signal.SIGUSR1, information)
    return True
