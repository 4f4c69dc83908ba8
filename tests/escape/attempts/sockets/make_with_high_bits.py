"""Make a socket with bits set in the upper half of each argument, which the host cuts off.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os
import socket

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.close(linux.system_call("socket", 1 << 33 | socket.AF_UNIX, 1 << 33 | socket.SOCK_STREAM, 0))
    return True
