"""Make processes without an end, or thirty.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    children = []
    for _ in range(30):
        child = linux.system_call("fork")
        if child == 0:
            os._exit(0)
        children.append(child)
    return [linux.wait_child(child) for child in children]
