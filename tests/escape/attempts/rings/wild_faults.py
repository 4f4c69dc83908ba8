"""Tell of faults that no processor has.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

from libsel4py.abi import Syscall
from libsel4py.lowlevel import syscalls
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    syscalls.machine.trap(Syscall.FAULT, 0, 0, (1 << 64) - 1, 1 << 63, 1 << 40, 0)
