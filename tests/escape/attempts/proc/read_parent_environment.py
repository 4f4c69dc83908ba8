"""Read the environment of the process that made this one.

Stopped by: landlock, seccomp, hidden
Outside: works
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return Path(f"/proc/{os.getppid()}/environ").read_bytes()
