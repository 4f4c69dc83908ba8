"""Open the host's physical memory.

Stopped by: landlock, seccomp, capabilities
Outside: root
"""

from __future__ import annotations

import os

from tests.escape.attempt import NotHere
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    if not os.path.exists("/dev/mem"):
        raise NotHere("there is no /dev/mem")
    os.close(os.open("/dev/mem", os.O_RDONLY))
    return True
