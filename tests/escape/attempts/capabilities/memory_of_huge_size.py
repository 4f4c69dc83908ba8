"""Make objects of sizes whose sum goes round.

Stopped by: kernel
Outside: no, no memory is so large
"""

from __future__ import annotations

import contextlib

from libsel4py.abi import ObjectType
from libsel4py.capabilities import CNode, Untyped
from libsel4py.errors import KernelError
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for bits in (38, 58, 63, 64, 1 << 32, (1 << 64) - 1):
        with contextlib.suppress(KernelError):
            Untyped(slots.OWN_MEMORY).retype(ObjectType.CNODE, bits, CNode(slots.OWN_CNODE), slots.FREE, 1)
            return bits
    return None
