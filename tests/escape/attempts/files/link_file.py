"""Give the secret a second name.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.link(stage.path("secret"), stage.path("linked"))
    return True
