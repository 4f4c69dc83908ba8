"""Attach to the victim by PTRACE_ATTACH, which stops it.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call("ptrace", 16, stage.pid, 0, 0)
    os.waitpid(stage.pid, 0x40000000)
    linux.system_call("ptrace", 17, stage.pid, 0, 0)
    return True
