"""Ask for the victim's capabilities of Linux's.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call(125, linux.buffer(struct.pack("<Ii", 0x20080522, stage.pid)), linux.buffer(24))
    return True
