"""Have the host push the victim's memory out, process_madvise(2).

Stopped by: seccomp, pid
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    victim = linux.system_call("pidfd_open", stage.pid, 0)
    return linux.system_call("process_madvise", victim, linux.vector(stage.address, 4096), 1, 20, 0)
