"""Move a mount that is none.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    none = linux.text("/none")
    return linux.is_reached("move_mount", linux.AT_FDCWD, none, linux.AT_FDCWD, none, 0)
