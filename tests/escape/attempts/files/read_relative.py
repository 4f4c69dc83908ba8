"""Open the secret relative to a folder that was opened as a mere place (O_PATH).

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    folder = os.open(stage.folder, os.O_PATH)
    return stage.is_secret(linux.read_all(os.open("secret", os.O_RDONLY, dir_fd=folder)))
