"""Make another the owner of a pipe, who is signalled when something can be read.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import fcntl
import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, stage.pid)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
    os.write(writer, b"x")
    return True
