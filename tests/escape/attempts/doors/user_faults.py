"""Handle the own process's page faults, and so hold the host kernel up in the middle of a copy.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.system_call("userfaultfd", 1) > 0
