"""Make a symbolic link to the secret, in a folder where code may be.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.symlink(stage.path("secret"), stage.path("symbolic"))
    return True
