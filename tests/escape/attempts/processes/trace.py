"""Attach to the victim as a debugger does, PTRACE_SEIZE.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call("ptrace", 0x4206, stage.pid, 0, 0)
    return True
