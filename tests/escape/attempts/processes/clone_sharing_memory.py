"""Make a second process that shares this one's memory, and so everything in it, but is none of its threads.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import signal
import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    clone_vm, clone_vfork = 0x100, 0x4000
    code = b"\xb8\x38\0\0\0\xbf" + struct.pack("<I", clone_vm | clone_vfork | signal.SIGCHLD)
    code += b"\x31\xf6\x31\xd2\x4d\x31\xd2\x4d\x31\xc0\x0f\x05\x48\x85\xc0\x75\x09\x31\xff\xb8\x3c\0\0\0\x0f\x05\xc3"
    return linux.wait_child(linux.run_code(code)) == 0
