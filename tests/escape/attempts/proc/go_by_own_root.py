"""Reach the secret by one's own root folder as /proc shows it.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

from pathlib import Path

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return stage.is_secret(Path(f"/proc/self/root{stage.path('secret')}").read_bytes())
