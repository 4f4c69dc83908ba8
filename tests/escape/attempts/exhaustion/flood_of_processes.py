"""Have more processes at once than all tasks of the system may have together. They share memory, and wait.

Stopped by: seccomp, cgroup
Outside: works
"""

from __future__ import annotations

import os
import signal
import struct

from tests.escape import linux
from tests.escape.stage import Stage

WANTED = 1500  # hw.control_group.Bounds gives a system of 256 MiB, as the scene's is, 1152
CLONE_VM = 0x100


def attempt(_stage: Stage) -> object:
    code = _clone_and_pause()
    children: list[int] = []
    try:
        while len(children) < WANTED:
            children.append(linux.run_code(code))
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return len(children) == WANTED


def _clone_and_pause() -> bytes:
    """clone(2); the child needs no stack for what it does."""
    code = b"\xb8\x38\0\0\0\xbf" + struct.pack("<I", CLONE_VM | signal.SIGCHLD)  # eax = clone, edi = flags
    code += b"\x31\xf6\x31\xd2\x4d\x31\xd2\x4d\x31\xc0\x0f\x05"  # the other arguments are 0
    code += b"\x48\x85\xc0\x74\x01\xc3"  # the parent returns
    return code + b"\xb8\x22\0\0\0\x0f\x05\xeb\xf7"  # pause, again and again
