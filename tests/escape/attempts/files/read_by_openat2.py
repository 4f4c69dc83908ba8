"""Read the secret by openat2(2), whose flags are in memory where no filter sees them.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os
import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    how = linux.buffer(struct.pack("<QQQ", os.O_RDONLY, 0, 0))
    place = linux.text(stage.path("secret"))
    return stage.is_secret(linux.read_all(linux.system_call("openat2", linux.AT_FDCWD, place, how, 24)))
