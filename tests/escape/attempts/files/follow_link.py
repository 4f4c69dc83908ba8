"""Read where a link of the host's leads, which opens nothing.

Stopped by: tree
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return stage.is_secret(os.readlink(stage.path("link")).encode())
