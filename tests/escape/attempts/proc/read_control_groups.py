"""Read and write the host's control groups.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.attempt import NotHere
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    if not os.path.isdir("/sys/fs/cgroup"):
        raise NotHere("there is no /sys/fs/cgroup")
    return os.listdir("/sys")
