"""Send two thousand messages to a server.

Stopped by: kernel
Outside: no, what nobody waits for is dropped
"""

from __future__ import annotations

from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for _ in range(2000):
        syscalls.nb_send(slots.WITNESS, Message(0x900, tuple(range(120))))
    return None
