"""Call as somebody else: mint another badge over the own one.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import CNode, Endpoint
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    own = CNode(slots.OWN_CNODE)
    own.mint(slots.FREE, own, slots.WITNESS, 0x78, dest_depth=slots.RADIX, src_depth=slots.RADIX)
    return Endpoint(slots.FREE).call(Message(0x900)).words[0] == 0x78
