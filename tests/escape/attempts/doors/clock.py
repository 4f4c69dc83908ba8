"""Ask the host's clock to change by nothing.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("clock_adjtime", 0, linux.buffer(struct.pack("<I", 0x100) + bytes(204)))
    return True
