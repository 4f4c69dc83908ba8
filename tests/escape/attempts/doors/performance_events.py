"""Count events of the processor, by which secrets of others can be timed.

Stopped by: seccomp
Outside: root
"""

from __future__ import annotations

import errno
import struct

from tests.escape import linux
from tests.escape.attempt import NotHere
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    attribute = linux.buffer(struct.pack("<IIQ", 1, 128, 0) + bytes(112))
    try:
        return linux.system_call("perf_event_open", attribute, 0, -1, -1, 0) > 0
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.ENOENT):
            raise NotHere("this host has no performance events, or says so") from error
        raise
