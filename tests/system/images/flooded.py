"""An initial task whose first child takes memory, as much as the description says; the second one ends by itself.

Writes a line for each into its log: the wait status.
"""

from __future__ import annotations

import ctypes
import time

from libsel4py import abi
from libsel4py.lowlevel import bootinfo
from tests.system.images.family import Parent

FREEING_S = 0.5  # Linux gives a dead process's shared memory back behind its end, and tells nobody when it has


def main(boot_info_address: int, *_: int) -> int:
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS))
    parent = Parent(info)
    for mebibytes in (int(info.system_description), 0):
        child = parent.child()
        child.start(0, mebibytes)
        _, status = parent.wait_death()
        print(status, flush=True)
        time.sleep(FREEING_S)
        parent.free(child)
    return 3  # a system that ends with 0 keeps no logs
