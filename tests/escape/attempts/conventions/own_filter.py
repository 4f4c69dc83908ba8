"""Lay a filter of one's own over the first, that hands calls to oneself to answer (seccomp's listener).

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.prctl(38, 1)
    program = linux.buffer(struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000))
    header = linux.buffer(struct.pack("<HxxxxxxQ", 1, program))
    return linux.system_call("seccomp", 1, 8, header) > 2
