"""Open a pipe with a name that the victim has.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.close(os.open(stage.path("pipe"), os.O_RDONLY | os.O_NONBLOCK))
    return True
