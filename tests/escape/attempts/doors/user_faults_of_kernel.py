"""The same, of faults that the host kernel itself meets with.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.system_call("userfaultfd", 0) > 0
