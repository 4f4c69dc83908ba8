"""Make a device file of the host's memory, mknod(2).

Stopped by: seccomp, landlock, capabilities
Outside: root
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.mknod(stage.path("memory"), 0o600 | 0o020000, os.makedev(1, 1))
    return True
