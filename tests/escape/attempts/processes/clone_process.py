"""Make a second process by clone(2) with no flag at all.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os
import signal

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    child = linux.system_call("clone", signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return linux.wait_child(child) == 0
