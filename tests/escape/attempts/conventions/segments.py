"""Make a segment of one's own, modify_ldt(2), by which old convention and addresses can be had.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    description = linux.buffer(struct.pack("<IIII", 0, 0, 0xFFFFF, 0x51))
    linux.system_call("modify_ldt", 1, description, 16)
    return True
