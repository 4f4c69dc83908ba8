"""Connect to a Unix socket that has a name but no file.

Stopped by: seccomp, landlock, namespaces
Outside: works
"""

from __future__ import annotations

import socket

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(f"\0{stage.abstract}")
        return stage.is_secret(link.recv(16))
