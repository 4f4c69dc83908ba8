"""Change a file's mode by fchmodat2(2), newer than most filters.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call("fchmodat2", linux.AT_FDCWD, linux.text(stage.path("secret")), 0o600, 0)
    return True
