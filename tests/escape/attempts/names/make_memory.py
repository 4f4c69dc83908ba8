"""Make System V memory, which lasts longer than this process.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    made = linux.system_call("shmget", 0, 4096, 0o600)
    linux.system_call("shmctl", made, linux.IPC_RMID, 0)
    return True
