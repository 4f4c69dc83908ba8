"""Load code into the host kernel: bytes that are none.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.is_reached("init_module", linux.buffer(b"none"), 4, linux.text(""))
