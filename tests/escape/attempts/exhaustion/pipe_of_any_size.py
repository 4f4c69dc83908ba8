"""Make a pipe larger.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import fcntl
import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    reader, _ = os.pipe()
    return fcntl.fcntl(reader, 1031, 1 << 20)
