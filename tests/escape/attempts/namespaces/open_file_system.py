"""Begin to make a file system in memory.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.system_call("fsopen", linux.text("tmpfs"), 0) > 0
