"""Ask where the victim's pages are, move_pages(2).

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import errno
import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    place, status = linux.buffer(struct.pack("<Q", stage.address)), linux.buffer(8)
    try:
        linux.system_call("move_pages", stage.pid, 1, place, 0, status, 0)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return True  # the host looked at the page
        raise
    return True
