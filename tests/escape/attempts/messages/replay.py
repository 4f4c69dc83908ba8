"""Put the same entry of the ring there again, for it to count as another's.

Stopped by: kernel
Outside: no, an entry is a call of the one who wrote it
"""

from __future__ import annotations

import ctypes

from libsel4py import abi
from libsel4py.abi import Syscall
from tests.escape import rings, slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ring = rings.Ring()
    ring.run(Syscall.CALL, slots.WITNESS, 0x900, 1)
    used = ring.word(abi.SUBMIT_PRODUCED).value
    ring.write(used, ctypes.string_at(ring.at(used - 1), abi.RING_ENTRY_BYTES))
    ring.publish(used + 1)
    ring.wait(abi.COMPLETE_PRODUCED, used + 1)
    return None
