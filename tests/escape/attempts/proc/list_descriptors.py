"""List what the victim has open.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return os.listdir(f"/proc/{stage.pid}/fd")
