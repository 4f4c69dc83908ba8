"""Talk to the machine on which the host itself runs.

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
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            raise NotHere("this host has no vsock") from error
        raise
    return True
