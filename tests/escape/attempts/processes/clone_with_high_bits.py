"""Make a second process by flags whose upper half says that it is a thread.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os
import signal

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    child = linux.system_call("clone", 0x10000 << 32 | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return linux.wait_child(child) == 0
