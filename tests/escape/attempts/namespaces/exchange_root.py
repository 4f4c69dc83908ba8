"""Exchange the root folder for one that is not there.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.is_reached("pivot_root", linux.text("/none"), linux.text("/none"))
