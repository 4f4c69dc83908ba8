"""Lay compiled code into a cache folder, for others to run.

Stopped by: seccomp, landlock
Outside: owner
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    cache = os.path.join(os.path.dirname(__file__), "__pycache__")
    os.makedirs(cache, exist_ok=True)
    place = os.path.join(cache, "escape.pyc")
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT, 0o600))
    os.unlink(place)
    return True
