"""Make a process by the 32-bit convention.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    code = b"\x53\xb8\x02\0\0\0\xcd\x80\x48\x98\x85\xc0\x75\x09\x31\xff\xb8\x3c\0\0\0\x0f\x05\x5b\xc3"
    return linux.wait_child(linux.run_code(code)) == 0
