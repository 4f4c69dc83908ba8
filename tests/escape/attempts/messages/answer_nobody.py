"""Answer again and again where nobody has called.

Stopped by: kernel
Outside: no, nobody waits there
"""

from __future__ import annotations

from libsel4py.capabilities import Reply
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for _ in range(20):
        Reply(slots.REPLY).send(Message(0, (1, 2, 3)))
    return None
