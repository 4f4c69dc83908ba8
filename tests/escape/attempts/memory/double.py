"""Have a shared mapping a second time, mremap(2) of no old bytes.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    place = linux.shared_mapping()
    return linux.system_call("mremap", place, 0, 4096, 1) > 0
