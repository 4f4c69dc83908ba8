"""Make a message queue, which lasts longer than this process.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("msgctl", linux.system_call("msgget", 0, 0o600), linux.IPC_RMID, 0)
    return True
