"""List the victim's mappings as files, which could be opened.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return os.listdir(f"/proc/{stage.pid}/map_files")
