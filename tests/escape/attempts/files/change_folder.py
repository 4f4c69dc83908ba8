"""Go into the victim's folder, and open the secret by a name without a path.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.chdir(stage.folder)
    return stage.is_secret(Path("secret").read_bytes())
