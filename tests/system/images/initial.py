"""An initial task that ends, fails or waits, as its description says."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import threading
from pathlib import Path

import hw.cpu
from libsel4py import abi
from libsel4py.abi import InitialSlot, Syscall
from libsel4py.lowlevel import bootinfo


def overwrite(address: int) -> None:
    """Try to make BootInfo writable in every way there is."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address), 4096, mmap.PROT_READ | mmap.PROT_WRITE) == -1, "mprotect"
    assert ctypes.get_errno() == errno.EACCES
    inode = next(line for line in Path("/proc/self/maps").read_text().splitlines() if line.startswith(f"{address:x}-"))
    assert inode.split()[1] == "r--s", inode
    open_on = [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2, 4, 5)]
    assert not any("memfd:" in target for target in open_on), open_on
    for flags in (os.O_RDWR, os.O_WRONLY, os.O_RDONLY):
        try:
            again = os.open(f"/proc/self/map_files/{inode.split()[0]}", flags)
        except OSError:
            continue
        try:
            mmap.mmap(again, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError:
            os.close(again)
            continue
        raise AssertionError(f"BootInfo can be mapped writable by way of map_files, opened with {flags:#x}")


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
        case "overwrite":
            overwrite(boot_info_address)
    return 0
