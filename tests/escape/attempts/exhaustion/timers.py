"""Make hundreds of timers with a descriptor each.

Stopped by: limits
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return [linux.system_call("timerfd_create", 1, 0) for _ in range(500)]
