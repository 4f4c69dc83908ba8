"""Make a raw socket, to send packets of any sender's.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

import socket

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    return True
