"""Make a pipe with a name, to talk to whoever opens it.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.mkfifo(stage.path("made pipe"))
    return True
