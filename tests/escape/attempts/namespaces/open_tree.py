"""Open a folder as a tree that can be mounted.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return linux.system_call("open_tree", linux.AT_FDCWD, linux.text(stage.folder), 0) > 0
