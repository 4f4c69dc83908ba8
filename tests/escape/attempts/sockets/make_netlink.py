"""Ask the host kernel for its routes and cards.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import socket

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
    return True
