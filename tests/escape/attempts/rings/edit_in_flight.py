"""Edit entries by a second thread while the kernel takes them, between an address that is checked and another.

Stopped by: kernel
Outside: no, a ring exists inside alone
"""

from __future__ import annotations

import ctypes
import threading

from libsel4py import abi
from libsel4py.abi import Syscall
from tests.escape import rings, slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    ring, running = rings.Ring(), [True]

    def flip() -> None:
        while running:
            for cptr in (slots.VICTIM, slots.WITNESS | 1 << 40, slots.INBOX, slots.WITNESS):
                for index in range(0, abi.RING_ENTRIES, 4):
                    ctypes.c_uint64.from_address(ring.at(index) + abi.ENTRY_CPTR).value = cptr

    editor = threading.Thread(target=flip)
    editor.start()
    try:
        for number in range(40):
            ring.run(Syscall.NB_SEND, slots.WITNESS, 0x900, number)
    finally:
        running.clear()
        editor.join()
    return None
