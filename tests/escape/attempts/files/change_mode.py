"""Let everybody read the secret.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.chmod(stage.path("secret"), 0o644)
    return True
