"""Make a map for programs that run in the host kernel, bpf(2).

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.system_call("bpf", 0, linux.buffer(struct.pack("<IIII", 2, 4, 8, 1) + bytes(56)), 72) > 0
