"""Hand a capability on without the right to.

Stopped by: kernel
Outside: no, the witness keeps nothing that it is handed
"""

from __future__ import annotations

from libsel4py.capabilities import Endpoint
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    Endpoint(slots.WITNESS).call(Message(0x900, (), (slots.OWN_CNODE, slots.OWN_TCB, slots.OWN_MEMORY)))
    return None
