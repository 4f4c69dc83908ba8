"""Give the own thread another trap frame while it runs.

Stopped by: kernel
Outside: no, the frame is the kernel's to map
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import ObjectType
from libsel4py.capabilities import TCB, CNode, Frame, Untyped
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    Untyped(slots.OWN_MEMORY).retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS, CNode(slots.OWN_CNODE), slots.FREE, 1)
    TCB(slots.OWN_TCB).set_ipc_buffer(0x20_0000_0000, Frame(slots.FREE))
    return True
