"""Raise other bits of a notification than the own capability's.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import CNode, Notification
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    own = CNode(slots.OWN_CNODE)
    own.mint(slots.FREE, own, slots.SIGNAL, 0x80, dest_depth=slots.RADIX, src_depth=slots.RADIX)
    Notification(slots.FREE).signal()
    return True
