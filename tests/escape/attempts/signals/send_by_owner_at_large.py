"""The same by F_SETOWN_EX, whose owner stands in memory.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os
import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    reader, _ = os.pipe()
    linux.system_call("fcntl", reader, 15, linux.buffer(struct.pack("<ii", 1, stage.pid)))
    return True
