"""Send a descriptor over a socket pair, to have it twice and beyond what is counted.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import socket

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    one, other = socket.socketpair()
    socket.send_fds(one, [b"x"], [0])
    return socket.recv_fds(other, 1, 1)[1]
