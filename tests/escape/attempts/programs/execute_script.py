"""Have a program of the victim's folder run in a child, which leaves a proof.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    child = os.posix_spawn(stage.path("program"), [stage.path("program")], {})
    os.waitpid(child, 0)
    return stage.is_secret(Path(stage.path("proof")).read_bytes())
