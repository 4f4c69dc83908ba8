"""Open a setting of the host's to write.

Stopped by: seccomp, landlock
Outside: root
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.close(os.open("/proc/sys/kernel/hostname", os.O_WRONLY))
    return True
