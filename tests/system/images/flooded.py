"""An initial task with two children: one stays; the other one takes memory, as much as the description says, and in its
next life none. That is begun when the end of the one that stays is heard of: whoever ends it says when.

Writes a line for each end of the other one into its log: the wait status.
"""

from __future__ import annotations

import ctypes

from libsel4py import abi
from libsel4py.lowlevel import bootinfo
from tests.system.images.family import Parent
from tests.system.images.taking import END, STAY


def main(boot_info_address: int, *_: int) -> int:
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS))
    parent = Parent(info)
    parent.child().start(STAY, 0)
    child = parent.child()
    for mebibytes in (int(info.system_description), 0):
        child.start(END, mebibytes)
        _, status = parent.wait_death()
        print(status, flush=True)
        if mebibytes:
            parent.wait_death()
    return 3  # a system that ends with 0 keeps no logs
