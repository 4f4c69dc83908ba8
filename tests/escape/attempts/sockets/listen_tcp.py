"""Listen at a port of the host.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import socket

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
        return made.getsockname()[1]
