"""Ask a service of the host by UDP.

Stopped by: seccomp, namespaces
Outside: works
"""

from __future__ import annotations

import socket

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(5)
        made.sendto(b"x", ("127.0.0.1", stage.udp_port))
        return stage.is_secret(made.recv(16))
