"""Delete every capability that one holds, for the objects to go.

Stopped by: kernel
Outside: no, it deletes what is its own alone
"""

from __future__ import annotations

from libsel4py.capabilities import CNode
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    own = CNode(slots.OWN_CNODE)
    for slot in (slots.WITNESS, slots.SIGNAL, slots.CANARY, slots.INBOX, slots.OWN_CONTEXT):
        own.delete(slot, slots.RADIX)
    return None
