"""Make a second process, which nobody counts.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    child = linux.system_call("fork")
    if child == 0:
        os._exit(0)
    return linux.wait_child(child) == 0
