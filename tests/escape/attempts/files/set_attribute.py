"""Set an extended attribute.

Stopped by: seccomp
Outside: root
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    os.setxattr(stage.path("file"), "trusted.sel4py", b"x")
    return True
