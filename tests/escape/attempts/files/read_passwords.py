"""Read the host's password file.

Stopped by: landlock, seccomp
Outside: root
"""

from __future__ import annotations

from pathlib import Path

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return Path("/etc/shadow").read_bytes()
