"""Reach the secret from a folder of code, which may be read, by way of its parents.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    code = os.path.dirname(os.__file__)
    path = code + "/.." * code.count("/") + stage.path("secret")
    return stage.is_secret(Path(path).read_bytes())
