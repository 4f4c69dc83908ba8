"""Read the victim's command line.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

from pathlib import Path

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return Path(f"/proc/{stage.pid}/cmdline").read_bytes()
