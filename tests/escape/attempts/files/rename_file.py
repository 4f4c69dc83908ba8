"""Rename a file.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.rename(stage.path("pipe"), stage.path("renamed"))
    os.rename(stage.path("renamed"), stage.path("pipe"))
    return True
