"""Make a socket by a number with bits above the lower 32, which the host cuts off.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import socket

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.system_call(1 << 40 | linux.NUMBERS["socket"], socket.AF_UNIX, socket.SOCK_STREAM, 0) > 0
