"""Make a socket of another family.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import errno
import socket

from tests.escape.attempt import NotHere
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            raise NotHere("this host has no IPv6") from error
        raise
    return True
