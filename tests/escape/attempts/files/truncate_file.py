"""Empty a file by its path, without opening it.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call("truncate", linux.text(stage.path("file")), 0)
    return True
