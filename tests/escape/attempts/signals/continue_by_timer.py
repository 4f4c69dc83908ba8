"""Have a timer, which runs while the process is stopped, send the signal by which it goes on.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import signal
import struct
import time

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    event = struct.pack("<Qii", 0, signal.SIGCONT, 0).ljust(64, b"\0")  # struct sigevent: SIGEV_SIGNAL
    linux.system_call("timer_create", time.CLOCK_MONOTONIC, linux.buffer(event), linux.buffer(4))
    return True
