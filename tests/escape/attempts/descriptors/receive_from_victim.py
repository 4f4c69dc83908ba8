"""Be sent a descriptor of the victim's over a Unix socket (SCM_RIGHTS).

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os
import socket

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(f"\0{stage.abstract}")
        _, handed, _, _ = socket.recv_fds(link, 16, 1)
    return stage.is_secret(os.pread(handed[0], 16, 0))
