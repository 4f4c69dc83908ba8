"""Reach the secret by the victim's own root folder.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

from pathlib import Path

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return stage.is_secret(Path(f"/proc/{stage.pid}/root{stage.path('secret')}").read_bytes())
