"""Wait with a capability that is no reply object.

Stopped by: kernel
Outside: no, only a reply object answers
"""

from __future__ import annotations

from libsel4py.abi import Syscall
from libsel4py.lowlevel import syscalls
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    syscalls.machine.trap(Syscall.NB_RECV, slots.INBOX, 0, 0, 0, 0, 0, slots.CANARY, 0, -1)
    return None
