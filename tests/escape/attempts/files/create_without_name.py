"""Make a file that has no name (O_TMPFILE), to keep bytes on the host's disk.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return os.write(os.open(stage.folder, os.O_TMPFILE | os.O_RDWR, 0o600), b"x")
