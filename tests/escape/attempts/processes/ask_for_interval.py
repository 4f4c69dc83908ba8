"""Ask for the victim's turn at the processor.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call(148, stage.pid, linux.buffer(16))
    return True
