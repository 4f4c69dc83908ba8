"""Make a semaphore, which lasts longer than this process.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("semctl", linux.system_call("semget", 0, 1, 0o600), 0, linux.IPC_RMID, 0)
    return True
