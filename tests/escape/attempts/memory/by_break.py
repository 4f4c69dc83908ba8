"""Have private memory by brk(2).

Stopped by: limits
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.attempt import Stopped
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    now = linux.system_call(12, 0)
    if linux.system_call(12, now + (1 << 30)) == now:
        raise Stopped("the program's end did not move")
    return True
