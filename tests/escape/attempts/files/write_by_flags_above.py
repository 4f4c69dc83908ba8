"""Open a file to write with bits in the upper half of the flags, which the host cuts off.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    place = linux.text(stage.path("file"))
    opened = linux.system_call("openat", linux.AT_FDCWD, place, os.O_RDWR | 1 << 40, 0)
    return os.write(opened, b"x")
