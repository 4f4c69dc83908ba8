"""Make so many objects at once that their sizes' sum goes round.

Stopped by: kernel
Outside: no, so many are not made at once
"""

from __future__ import annotations

import contextlib

from libsel4py.abi import ObjectType
from libsel4py.capabilities import CNode, Untyped
from libsel4py.errors import KernelError
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for count in (1 << 32, 1 << 59, (1 << 64) - 1):
        with contextlib.suppress(KernelError):
            Untyped(slots.OWN_MEMORY).retype(ObjectType.ENDPOINT, 0, CNode(slots.OWN_CNODE), slots.FREE, count)
            return count
    return None
