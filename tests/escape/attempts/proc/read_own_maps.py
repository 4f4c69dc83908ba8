"""Read one's own mappings, where the trap frame and its file's name are.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

from pathlib import Path

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return Path("/proc/self/maps").read_bytes()
