"""The same for one thread alone (SIGEV_THREAD_ID), by which the whole process goes on.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import signal
import struct
import threading
import time

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    event = struct.pack("<Qiii", 0, signal.SIGCONT, 4, threading.get_native_id()).ljust(64, b"\0")
    linux.system_call("timer_create", time.CLOCK_MONOTONIC, linux.buffer(event), linux.buffer(4))
    return True
