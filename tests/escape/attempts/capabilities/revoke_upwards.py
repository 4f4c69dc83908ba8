"""Take back every capability that one holds, for others to lose theirs.

Stopped by: kernel
Outside: no, it takes back what is its own alone
"""

from __future__ import annotations

from libsel4py.capabilities import CNode
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    own = CNode(slots.OWN_CNODE)
    for slot in range(1, slots.VICTIM):
        if slot not in (slots.OWN_CNODE, slots.OWN_TCB, slots.OWN_VSPACE):
            own.revoke(slot, slots.RADIX)
    return None
