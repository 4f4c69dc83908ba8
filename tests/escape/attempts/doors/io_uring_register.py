"""Register with io_uring: of a ring that is not open, which only says that the door is there.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.is_reached(427, 0, 0, 0, 0)
