"""Make objects into slots beyond the own space's end.

Stopped by: kernel
Outside: no, a space ends where it ends
"""

from __future__ import annotations

from libsel4py.abi import ObjectType
from libsel4py.capabilities import CNode, Untyped
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    Untyped(slots.OWN_MEMORY).retype(ObjectType.ENDPOINT, 0, CNode(slots.OWN_CNODE), slots.END - 1, 3)
    return True
