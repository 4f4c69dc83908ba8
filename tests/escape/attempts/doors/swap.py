"""Have the host swap to a file that is not there.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return linux.is_reached("swapon", linux.text(stage.path("none")), 0)
