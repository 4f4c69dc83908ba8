"""An initial task that ends, fails or waits, as its description says."""

from __future__ import annotations

import ctypes
import threading

import hw.cpu
from libsel4py import abi
from libsel4py.abi import InitialSlot, Syscall
from libsel4py.lowlevel import bootinfo


def main(boot_info_address: int, *_rest: int) -> int:
    data = ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS)
    what, _space, value = bootinfo.parse(data).system_description.decode().partition(" ")
    match what:
        case "return":
            return int(value)
        case "raise":
            raise LookupError("the initial task failed on purpose")
        case "crash":
            ctypes.string_at(8)
        case "wait":
            threading.Event().wait()
        case "spin":
            while True:
                hw.cpu.trap(Syscall.YIELD, 0, 0, 0, 0, 0, 0)
        case "trap":
            for _count in range(int(value)):
                hw.cpu.trap(Syscall.CALL, InitialSlot.TCB, abi.message_info(abi.Label.TCB_RESUME), 0, 0, 0, 0)
    return 0
