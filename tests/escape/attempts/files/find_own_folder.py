"""Find out in which folder of the host's the system was started.

Stopped by: tree
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return os.getcwd() != "/"
