"""Say that one has ended, and go on.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import Syscall
from tests.escape import rings, slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ring = rings.Ring()
    index = ring.word(abi.SUBMIT_PRODUCED).value
    ring.place(index, Syscall.EXIT, 0, 0, 0)
    ring.place(index + 1, Syscall.CALL, slots.WITNESS, 0x900, 0)
    ring.publish(index + 2)
    ring.wait(abi.COMPLETE_PRODUCED, index + 2)
