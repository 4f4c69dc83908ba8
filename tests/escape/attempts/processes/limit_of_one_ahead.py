"""Ask for the limits of the process that waits ahead of need, or of another task, which could then be set.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import resource

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    refused: OSError | None = None
    for number in stage.neighbours():
        try:
            resource.prlimit(number, resource.RLIMIT_NOFILE)
        except OSError as error:
            refused = error
        else:
            return number
    assert refused is not None
    raise refused
