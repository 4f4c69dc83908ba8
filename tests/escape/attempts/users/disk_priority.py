"""Have one's reads of the disk come first.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("ioprio_set", 1, 0, 2 << 13)
    return True
