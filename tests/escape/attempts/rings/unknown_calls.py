"""Submit system calls that there are not.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

from tests.escape import rings, slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ring = rings.Ring()
    for op in (0, 99, 1 << 15, (1 << 31) - 1):
        ring.run(op, slots.WITNESS, 0)
    return None
