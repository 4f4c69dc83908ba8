"""Say that the own program's memory lies elsewhere, PR_SET_MM.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.is_reached("prctl", 35, 14, 0, 0, 0)
