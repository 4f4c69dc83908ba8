"""Connect to a Unix socket by its path.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import socket

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(stage.path("socket"))
        return stage.is_secret(link.recv(16))
