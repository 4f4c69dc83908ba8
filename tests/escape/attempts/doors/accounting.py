"""Have the host write a line for each process's end, to a file that is not there.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return linux.is_reached("acct", linux.text(stage.path("none")))
