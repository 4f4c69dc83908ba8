"""Have private memory far beyond what was paid for, in many small parts.

Stopped by: limits, seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return [linux.memory(1 << 20) for _ in range(2048)]
