"""Read what a descriptor of the victim's leads to, which opens nothing.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return os.readlink(f"/proc/{stage.pid}/fd/{stage.fd}")
