"""Go by way of a folder that was left open.

Stopped by: descriptors
Outside: works
"""

from __future__ import annotations

import contextlib
import os

from tests.escape.attempt import Stopped
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for number in range(4096):
        with contextlib.suppress(OSError):
            return os.open("secret", os.O_RDONLY, dir_fd=number)
    raise Stopped("no descriptor is the victim's folder")
