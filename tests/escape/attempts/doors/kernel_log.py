"""Read the host kernel's log, where addresses are.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.system_call("syslog", 3, linux.buffer(4096), 4096) >= 0
