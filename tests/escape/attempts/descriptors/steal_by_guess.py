"""Call pidfd_getfd(2) on every number that might be a process's descriptor already.

Stopped by: seccomp, descriptors
Outside: works
"""

from __future__ import annotations

import contextlib
import os

from tests.escape import linux
from tests.escape.attempt import Stopped
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    with contextlib.suppress(OSError):
        os.pidfd_open(stage.pid)
    for number in range(64):
        with contextlib.suppress(OSError):
            return linux.system_call("pidfd_getfd", number, stage.fd, 0)
    raise Stopped("none is a process's")
