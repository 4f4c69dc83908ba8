"""Have more threads at once than all tasks of the system may have together, with a page for each as its stack.

Stopped by: cgroup
Outside: works
"""

from __future__ import annotations

import ctypes
import mmap
import struct

from tests.escape import linux
from tests.escape.attempt import NotHere
from tests.escape.stage import Stage

WANTED = 1500  # hw.control_group.Bounds gives a system of 256 MiB, as the scene's is, 1152
AS_THREADS_ARE_MADE = 0x3D0F00  # clone(2), as pthread_create asks for it
STACK = 4096


def attempt(_stage: Stage) -> object:
    """Each new thread returns from clone(2) into sem_wait(3), and waits for ever.

    What it waits on is where the flags, its first argument still, point to.
    """
    libc = ctypes.CDLL(None)
    libc.pthread_self.restype = ctypes.c_ulong
    wait = ctypes.cast(libc.sem_wait, ctypes.c_void_p).value
    wanted, flags = AS_THREADS_ARE_MADE & -4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    if linux.system_call("mmap", wanted, 4096, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) != wanted:
        raise NotHere("something lies where its threads would wait")
    stacks = linux.memory(STACK * WANTED)
    scratch = linux.buffer(64)
    for number in range(WANTED):
        top = stacks + STACK * (number + 1) - 64
        ctypes.memmove(top, struct.pack("<Q", wait or 0), 8)
        linux.system_call("clone", AS_THREADS_ARE_MADE, top, scratch, scratch, libc.pthread_self())
    return True
