"""Name a place to receive at by words of ones.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

import ctypes

from libsel4py import abi
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message
from tests.escape import rings, slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ctypes.memset(rings.frame() + abi.IPC_RECEIVE_CNODE, 0xFF, 24)
    syscalls.call(slots.WITNESS, Message(0x900))
    return None
