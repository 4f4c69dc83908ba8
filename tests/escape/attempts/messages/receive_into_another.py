"""Have what is received put into another's capability space.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.identify import identify
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    syscalls.machine.set_receive(slots.VICTIM_CNODE, 3, slots.RADIX)
    return identify(slots.VICTIM_CNODE).type == "CNODE"
