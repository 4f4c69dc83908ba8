"""Write files of any length.

Stopped by: limits
Outside: works
"""

from __future__ import annotations

import resource

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
