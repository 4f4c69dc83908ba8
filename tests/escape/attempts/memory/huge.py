"""Have private memory far beyond what was paid for.

Stopped by: seccomp, limits
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    place = linux.memory(2 << 30)
    return place > 0
