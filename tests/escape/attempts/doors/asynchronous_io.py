"""Set up the older asynchronous input and output.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("io_setup", 4, linux.buffer(8))
    return True
