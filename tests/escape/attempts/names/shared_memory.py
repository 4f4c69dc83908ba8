"""Make a file of memory by a name, shm_open(3).

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    place = f"/dev/shm/sel4py-escape-{os.getpid()}"
    os.close(os.open(place, os.O_RDWR | os.O_CREAT, 0o600))
    os.unlink(place)
    return True
