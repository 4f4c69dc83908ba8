"""Map the secret's file instead of reading it.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import mmap
import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    opened = os.open(stage.path("secret"), os.O_RDONLY)
    return stage.is_secret(mmap.mmap(opened, 0, mmap.MAP_SHARED, mmap.PROT_READ)[:])
