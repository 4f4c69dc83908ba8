"""Set up io_uring with a thread of the host's own, which asks without any call at all.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    parameters = linux.buffer(struct.pack("<IIIII", 0, 0, 2, 0, 100) + bytes(100))
    return linux.system_call("io_uring_setup", 4, parameters) > 0
