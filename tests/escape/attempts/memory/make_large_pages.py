"""Make a memory file of large pages, of which the host has few.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return os.memfd_create("x", 4)
