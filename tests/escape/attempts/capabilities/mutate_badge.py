"""Change the badge of the own capability in place of copying it.

Stopped by: kernel
Outside: no, a badge is minted once
"""

from __future__ import annotations

from libsel4py.capabilities import CNode, Endpoint
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    own = CNode(slots.OWN_CNODE)
    own.mutate(slots.FREE, own, slots.WITNESS, 0x79, dest_depth=slots.RADIX, src_depth=slots.RADIX)
    return Endpoint(slots.FREE).call(Message(0x900)).words[0] == 0x79
