"""Make a second process by vfork(2), as a library does that runs programs.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    child = os.posix_spawn("/bin/true", ["true"], {})
    return linux.wait_child(child) == 0
