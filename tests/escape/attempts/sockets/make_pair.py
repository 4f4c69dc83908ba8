"""Make a pair of sockets, over which descriptors could be sent.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import socket

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    socket.socketpair()
    return True
