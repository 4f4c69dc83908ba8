"""Open the secret by the 32-bit convention, int 0x80.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import ctypes
import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    low = linux.low_memory()
    place = stage.path("secret").encode() + b"\0"
    ctypes.memmove(low, place, len(place))
    return stage.is_secret(linux.read_all(linux.old_call(5, low, os.O_RDONLY)))
