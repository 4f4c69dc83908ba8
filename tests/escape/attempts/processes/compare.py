"""Compare the victim's descriptors with one's own, which tells where they are.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return linux.system_call("kcmp", os.getpid(), stage.pid, 0, 0, stage.fd) >= 0
