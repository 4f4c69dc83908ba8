"""Append to a file of the victim's.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return os.write(os.open(stage.path("file"), os.O_WRONLY | os.O_APPEND), b"x")
