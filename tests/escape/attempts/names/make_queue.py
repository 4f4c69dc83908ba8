"""Make a POSIX queue.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    name = linux.text(f"sel4py-made-{os.getpid()}")
    linux.system_call("mq_open", name, os.O_RDWR | os.O_CREAT, 0o600, 0)
    linux.system_call("mq_unlink", name)
    return True
