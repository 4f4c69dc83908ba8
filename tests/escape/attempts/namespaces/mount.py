"""Mount a file system: of a kind that there is not.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return linux.is_reached("mount", 0, linux.text(stage.path("full")), linux.text("none"), 0, 0)
