"""End the process that waits ahead of need, or another task, by its number in the own namespace (with signal 0).

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
            os.kill(number, 0)
        except OSError as error:
            refused = error
        else:
            return number
    assert refused is not None
    raise refused
