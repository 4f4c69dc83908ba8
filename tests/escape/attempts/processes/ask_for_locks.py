"""Ask for the address of the victim's list of locks.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return linux.system_call(274, stage.pid, linux.buffer(8), linux.buffer(8)) == 0
