"""Set up io_uring, which carries calls out that no filter sees.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.system_call("io_uring_setup", 4, linux.buffer(120)) > 0
