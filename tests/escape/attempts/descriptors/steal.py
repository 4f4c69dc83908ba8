"""Take a descriptor out of the victim by pidfd_getfd(2).

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    victim = os.pidfd_open(stage.pid)
    return stage.is_secret(os.pread(linux.system_call("pidfd_getfd", victim, stage.fd, 0), 16, 0))
