"""Take a capability of root's.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    header = linux.buffer(struct.pack("<Ii", 0x20080522, 0))
    both = struct.pack("<IIIIII", 1 << 21, 1 << 21, 0, 0, 0, 0)
    linux.system_call("capset", header, linux.buffer(both))
    return True
