"""Count the doorbell up to where the next to ring it waits.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

import os

from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message
from tests.escape import rings, slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.eventfd_write(rings.DOORBELL, (1 << 64) - 3)
    for _ in range(3):
        syscalls.nb_send(slots.WITNESS, Message(0x900))
    return None
