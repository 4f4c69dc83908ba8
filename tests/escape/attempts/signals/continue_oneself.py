"""Send the signal by which a process goes on that the kernel has stopped, from a thread that runs still.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os
import signal
import threading

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("tgkill", os.getpid(), threading.get_native_id(), signal.SIGCONT)
    return True
