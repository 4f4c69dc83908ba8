"""Make a file by creat(2), which has no flags that say so.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call("creat", linux.text(stage.path("created by creat")), 0o600)
    return True
