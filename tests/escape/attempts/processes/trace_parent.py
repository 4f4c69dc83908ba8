"""Attach to the process that made this one.

Stopped by: seccomp, hidden
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.attempt import Stopped
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    if not os.getppid():
        raise Stopped("it has none that can be seen")
    linux.system_call("ptrace", 0x4206, os.getppid(), 0, 0)
    return True
