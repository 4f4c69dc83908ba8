"""Open the victim's memory file anew, by its descriptor's link.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return stage.is_secret(linux.read_all(os.open(f"/proc/{stage.pid}/fd/{stage.fd}", os.O_RDONLY)))
