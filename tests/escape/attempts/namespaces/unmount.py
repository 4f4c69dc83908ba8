"""Unmount what is not mounted.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return linux.is_reached("umount2", linux.text(stage.path("full")), 0)
