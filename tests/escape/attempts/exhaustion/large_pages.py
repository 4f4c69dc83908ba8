"""Take memory in large pages, which the host must have set aside.

Stopped by: limits, seccomp
Outside: works
"""

from __future__ import annotations

import errno

from tests.escape import linux
from tests.escape.attempt import NotHere
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    try:
        return linux.system_call("mmap", 0, 2 << 20, 3, 0x40022, -1, 0) > 0
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise NotHere("this host has set no large pages aside") from error
        raise
