"""Read the host's list of users.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

from pathlib import Path

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return Path("/etc/passwd").read_bytes()
