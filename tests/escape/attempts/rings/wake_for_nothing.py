"""Wake whoever sleeps on the words of the own frame, without an end.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

from libsel4py import abi
from tests.escape import linux, rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    address = rings.frame() + abi.COMPLETE_PRODUCED
    for _ in range(5000):
        linux.system_call("futex", address, 1, (1 << 31) - 1, 0, 0, 0)
    return None
