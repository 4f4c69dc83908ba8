"""Read the victim's secret by its path.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

from pathlib import Path

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return stage.is_secret(Path(stage.path("secret")).read_bytes())
