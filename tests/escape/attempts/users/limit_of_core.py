"""Have a core dump written, with whatever is in memory.

Stopped by: limits
Outside: works
"""

from __future__ import annotations

import resource

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return resource.getrlimit(resource.RLIMIT_CORE)[1]
