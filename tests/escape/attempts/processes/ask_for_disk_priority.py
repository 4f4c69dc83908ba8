"""Ask how the victim's reads of the disk are put in order.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return linux.system_call(252, 1, stage.pid) >= 0
