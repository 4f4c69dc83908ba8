"""Make contexts of asynchronous input and output, of which the host has so many for all.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("io_setup", 1000, linux.buffer(8))
    return True
