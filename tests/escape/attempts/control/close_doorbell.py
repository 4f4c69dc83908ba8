"""Close the doorbell.

Stopped by: kernel
Outside: no, the doorbell is one's own
"""

from __future__ import annotations

import os

from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.close(4)
    syscalls.call(slots.WITNESS, Message(0x900), 0.05)
    return None
