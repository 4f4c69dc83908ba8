"""Read the secret by open(2), the old call of its own number.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return stage.is_secret(linux.read_all(linux.system_call("open", linux.text(stage.path("secret")), os.O_RDONLY, 0)))
