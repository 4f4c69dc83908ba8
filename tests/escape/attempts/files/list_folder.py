"""List the victim's folder.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return "secret" in os.listdir(stage.folder)
