"""Make a packet socket, to read what passes by the host's cards.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

import errno
import socket

from tests.escape.attempt import NotHere
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            raise NotHere("this host has no packet sockets") from error
        raise
    return True
