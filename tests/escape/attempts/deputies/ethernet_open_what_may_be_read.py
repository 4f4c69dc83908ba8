"""Have the card receive into memory of somebody else's that one may read, behind a part that is one's own.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.abi import ObjectType, Rights
from libsel4py.capabilities import CNode
from libsel4py.dataspace import SharedMemory
from libsel4py.interfaces.ethernet import Ethernet, buffer_bytes, opening_bytes
from tests.escape.held import BUFFER_BYTES, Held

BUFFERS, SIZE = 1, buffer_bytes(100)


def attempt(held: Held) -> object:
    assert opening_bytes(BUFFERS, BUFFERS, SIZE) <= BUFFER_BYTES
    card, task = held.to(Ethernet, "ethernet"), held.task
    with held.memory() as (space, _), held.canary() as canary:
        card.open(space.share(), BUFFERS, BUFFERS, SIZE)
        card.close()
        table = CNode(task.memory.allocate(ObjectType.CNODE, 1).start)
        for index, frame in enumerate((space.frames[0], canary.frames[0])):
            table.copy(index, task.cnode, frame.cptr, Rights.ALL, dest_depth=1)
        try:
            card.open(SharedMemory(table.cptr), BUFFERS, BUFFERS, SIZE)
            card.close()
        finally:
            task.memory.free(table.cptr)
    return True
