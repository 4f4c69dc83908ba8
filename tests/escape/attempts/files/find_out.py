"""Find out whether a file of the host is there, and how long it is, which opens nothing.

Stopped by: tree
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return os.stat(stage.path("secret")).st_size
