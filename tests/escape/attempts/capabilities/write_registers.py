"""Write another thread's registers.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.capabilities import TCB
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    TCB(slots.VICTIM).write_registers(0, [0] * abi.REGISTERS)
    return True
