"""Send a message whose length and number of capabilities are all ones.

Stopped by: kernel
Outside: no, a message has 120 words
"""

from __future__ import annotations

from libsel4py.abi import Syscall
from libsel4py.lowlevel import syscalls
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    syscalls.machine.trap(Syscall.CALL, slots.WITNESS, (1 << 64) - 1 & ~(0xFFF << 52), 0, 0, 0, 0, 0, 0, -1)
    return None
