"""The same by ioctl(2), FIOSETOWN; a pipe has none, but a socket has.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct

from tests.escape.stage import Stage


def is_socket(number: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False


def attempt(stage: Stage) -> object:
    where = 5 if is_socket(5) else socket.socketpair()[0].detach()
    fcntl.ioctl(where, 0x8901, struct.pack("<i", stage.pid))
    return True
