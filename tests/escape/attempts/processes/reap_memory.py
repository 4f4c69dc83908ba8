"""Ask for a dying process's memory, process_mrelease(2), of one that is not.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.is_reached("process_mrelease", linux.system_call("pidfd_open", os.getpid(), 0), 0)
