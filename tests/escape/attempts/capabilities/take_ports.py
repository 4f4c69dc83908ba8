"""Take ports of a device.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import CNode, IOPortControl
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    IOPortControl(slots.IO_PORTS).issue(0x70, 0x71, CNode(slots.OWN_CNODE), slots.FREE, slots.RADIX)
    return True
