"""Send to an endpoint that may only be received from.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.errors import Timeout
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    try:
        syscalls.call(slots.INBOX, Message(1), 0.05)
    except Timeout:
        return True  # it waited for somebody to receive
    return None
