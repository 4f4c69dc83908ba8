"""Take a descriptor out of the process that made this one.

Stopped by: seccomp, hidden
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.attempt import Stopped
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    parent = os.getppid()
    if not parent:
        raise Stopped("it has none that can be seen")
    return linux.system_call("pidfd_getfd", os.pidfd_open(parent), 0, 0)
