"""Connect to a service of the host by TCP.

Stopped by: seccomp, landlock, namespaces
Outside: works
"""

from __future__ import annotations

import socket

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    with socket.create_connection(("127.0.0.1", stage.port), 5) as link:
        return stage.is_secret(link.recv(16))
