"""Ask for another user's quota.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.is_reached("quotactl", 0x80000700, linux.text("/dev/none"), 0, 0)
