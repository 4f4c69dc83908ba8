"""Copy between two files within the host, copy_file_range(2).

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    source = os.open(stage.path("secret"), os.O_RDONLY)
    target = os.open(stage.path("copied"), os.O_RDWR | os.O_CREAT, 0o600)
    return os.copy_file_range(source, target, 16)
