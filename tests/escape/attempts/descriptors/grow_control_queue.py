"""Fill a socket that another has to read with descriptors, until that one has none left.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os
import socket
import stat

from tests.escape.attempt import Stopped
from tests.escape.stage import Stage


def is_socket(number: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False


def attempt(_stage: Stage) -> object:
    in_task = is_socket(5)
    one, _other = (socket.socket(fileno=os.dup(5)), None) if in_task else socket.socketpair()
    for _ in range(50):
        socket.send_fds(one, [b"x"], [0] * 200)
    if in_task and not one.recv(1):
        raise Stopped("who reads it lets go of them, and hangs up")
    return True
