"""Read the victim's memory by process_vm_readv(2).

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    place = linux.buffer(16)
    linux.system_call("process_vm_readv", stage.pid, linux.vector(place, 16), 1, linux.vector(stage.address, 16), 1, 0)
    return stage.is_secret(linux.bytes_at(place, 16))
