"""Learn which processes there are.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return [name for name in os.listdir("/proc") if name.isdigit()]
