"""Begin a session of one's own.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.setsid()
    return True
