"""Have the own parent become one's debugger.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("ptrace", 0, 0, 0, 0)
    return True
