"""Call with another's label and badge as words, for the server to take one for it.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import Endpoint
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return Endpoint(slots.WITNESS).call(Message(0x901, (0x77, 0x77))).words[0] != slots.BADGE
