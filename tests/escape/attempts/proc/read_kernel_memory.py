"""Read the host kernel's memory.

Stopped by: landlock, seccomp
Outside: root
"""

from __future__ import annotations

import os

from tests.escape.attempt import NotHere
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    if not os.path.exists("/proc/kcore"):
        raise NotHere("there is no /proc/kcore")
    os.close(os.open("/proc/kcore", os.O_RDONLY))
    return True
