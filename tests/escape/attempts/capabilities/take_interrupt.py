"""Take an interrupt line.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import CNode, IRQControl
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    IRQControl(slots.IRQ_CONTROL).get(40, CNode(slots.OWN_CNODE), slots.FREE, slots.RADIX)
    return True
