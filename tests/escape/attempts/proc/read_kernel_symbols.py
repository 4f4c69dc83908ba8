"""Read where the host kernel's functions are.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

from pathlib import Path

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return Path("/proc/kallsyms").open("rb").read(100)
