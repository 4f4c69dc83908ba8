"""The same by the files of the victim's thread.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    place = f"/proc/{stage.pid}/task/{stage.pid}/fd/{stage.fd}"
    return stage.is_secret(linux.read_all(os.open(place, os.O_RDONLY)))
