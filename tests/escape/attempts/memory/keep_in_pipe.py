"""Put a page into a pipe, where it stays when its mapping is taken away.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    _, writer = os.pipe()
    return linux.system_call("vmsplice", writer, linux.vector(linux.memory(4096), 4096), 1, 0)
