"""Enter io_uring by every descriptor that there is.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return any(linux.is_reached(426, number, 1, 0, 0, 0, 0) for number in range(16))
