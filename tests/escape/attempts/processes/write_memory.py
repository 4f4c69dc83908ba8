"""Write into the victim's memory by process_vm_writev(2).

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    place = linux.buffer(b"x")
    return linux.system_call(
        "process_vm_writev", stage.pid, linux.vector(place, 1), 1, linux.vector(stage.address + 64, 1), 1, 0
    )
