"""Have a stack without a limit.

Stopped by: limits
Outside: works
"""

from __future__ import annotations

import resource

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return resource.getrlimit(resource.RLIMIT_STACK)[1] == resource.RLIM_INFINITY
