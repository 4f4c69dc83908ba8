"""Tell root of another task's death.

Stopped by: server
Outside: no, root goes by the badge
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.environment import Slot
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message
from tests.escape.held import Held


def attempt(_held: Held) -> object:
    words = (0, 0, 0, abi.ExceptionNumber.DEATH, 9)
    syscalls.call(Slot.PARENT, Message(abi.FaultLabel.USER_EXCEPTION, words), 0.1)
    return None
