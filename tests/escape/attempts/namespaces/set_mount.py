"""Make a mount writable.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.is_reached("mount_setattr", linux.AT_FDCWD, linux.text("/none"), 0, linux.buffer(32), 32)
