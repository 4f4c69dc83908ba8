"""Have the C library resolve a name, by whatever it opens for that.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import socket

from tests.escape.attempt import Stopped
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    try:
        return socket.getaddrinfo("localhost", 80)
    except socket.gaierror as error:
        raise Stopped(str(error)) from error
