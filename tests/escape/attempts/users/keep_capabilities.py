"""Read which of root's capabilities this process has.

Stopped by: capabilities
Outside: root
"""

from __future__ import annotations

import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    header, data = linux.buffer(struct.pack("<Ii", 0x20080522, 0)), linux.buffer(24)
    linux.system_call(125, header, data)
    effective, permitted = struct.unpack("<II", linux.bytes_at(data, 8))
    return effective | permitted
