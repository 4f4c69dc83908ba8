"""Read the environment of those who started the system.

Stopped by: descriptors
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return dict(os.environ)
