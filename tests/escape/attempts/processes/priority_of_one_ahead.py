"""Put the process that waits ahead of need, or another task, behind all others (to where it is already).

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    refused: OSError | None = None
    for number in stage.neighbours():
        try:
            os.setpriority(os.PRIO_PROCESS, number, os.getpriority(os.PRIO_PROCESS, 0))
        except OSError as error:
            refused = error
        else:
            return number
    assert refused is not None
    raise refused
