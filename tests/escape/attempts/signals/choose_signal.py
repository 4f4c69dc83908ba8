"""Choose another signal for what a descriptor tells.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import fcntl
import os
import signal

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    reader, _ = os.pipe()
    fcntl.fcntl(reader, 10, signal.SIGKILL)
    return True
