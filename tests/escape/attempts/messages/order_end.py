"""Order the witness to end, as its judge may.

Stopped by: server
Outside: no, the witness goes by the badge that the kernel says
"""

from __future__ import annotations

from libsel4py.capabilities import Endpoint
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return Endpoint(slots.WITNESS).call(Message(0x902)).words[0] != slots.BADGE
