"""Make a socket by the 32-bit convention.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import ctypes
import socket
import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    low = linux.low_memory()
    ctypes.memmove(low, struct.pack("<III", socket.AF_UNIX, socket.SOCK_STREAM, 0), 12)
    return linux.old_call(102, 1, low) > 0
