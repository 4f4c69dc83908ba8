"""Let the victim run last.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call("setpriority", 0, stage.pid, 5)
    return True
