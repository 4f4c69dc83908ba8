"""Lock a file of the victim's, so that it waits for ever.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import fcntl
import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    fcntl.flock(os.open(stage.path("file"), os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
