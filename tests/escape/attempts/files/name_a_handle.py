"""Ask for the handle of a file, which proves that it is there.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    handle = linux.buffer(struct.pack("<Ii", 128, 0) + bytes(128))
    place = linux.text(stage.path("secret"))
    linux.system_call("name_to_handle_at", linux.AT_FDCWD, place, handle, linux.buffer(8), 0)
    return True
