"""Cancel calls by every number.

Stopped by: kernel
Outside: no, CANCEL ends one's own calls alone
"""

from __future__ import annotations

from libsel4py.abi import Syscall
from libsel4py.lowlevel import syscalls
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for tag in range(64):
        syscalls.machine.trap(Syscall.CANCEL, slots.WITNESS, 0, tag, tag, tag, tag, 0, 0, -1)
    return None
