"""What a process that may become the kernel does while it waits: all that would take time once tasks wait for it.

A forked process has none of its own pages yet: each that it first touches is a page fault, and a kernel that takes over
met more than two thousand of them, a third of its time. So the spare has the host give it the pages ahead: those of its
heap to write, those of its code to read. And what it does from taking over until all is as it was goes before all
else on a host that permits it (`Haste`; `KernelProcess.hand`): tasks wait for it anyway.

Rule: nothing here is needed for being right. Where the host refuses, all is as it was, and slower.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from hw.kernel_process import FIRST

LATER: Final = 10  # nice values above the ordinary one
_POPULATE_READ: Final = 22  # MADV_POPULATE_READ, MADV_POPULATE_WRITE of Linux 5.14
_POPULATE_WRITE: Final = 23
_PIECE: Final = 1 << 20  # bytes between two looks at the socket

_libc = ctypes.CDLL(None, use_errno=True)


class Area(NamedTuple):
    """A mapping of this process's: its first byte and the one behind it."""

    start: int
    end: int
    advice: int


def have_pages(order: socket.socket) -> None:
    """Have the host give this process its pages, until the order comes."""
    waiting = select.poll()
    waiting.register(order, select.POLLIN)
    for area in tuple(_areas()):
        for start in range(area.start, area.end, _PIECE):
            if waiting.poll(0):
                return
            size = min(_PIECE, area.end - start)
            _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), ctypes.c_int(area.advice))


def _areas() -> Iterator[Area]:
    """Private memory to write, and what is mapped of files to read. proc_pid_maps(5)."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, permissions, _, _, inode, *name = line.split(maxsplit=5)
        start, _, end = where.partition("-")
        if permissions.startswith("rw") and permissions.endswith("p") and name != ["[stack]"]:
            yield Area(int(start, 16), int(end, 16), _POPULATE_WRITE)
        elif permissions.startswith("r") and inode != "0":
            yield Area(int(start, 16), int(end, 16), _POPULATE_READ)


class Haste:
    """From the order until all is as it was: no look for garbage, and the priority that the monitor gives.

    Before, a process that may become the kernel is nicer than others, if the host lets it take that back.

    Args:
        nice: what it goes back to, the nursery's. Its own says nothing: an order may have come, and a priority.
    """

    def __init__(self, nice: int) -> None:
        self._nice = nice
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, max(self._nice - 1, FIRST))
            os.setpriority(os.PRIO_PROCESS, 0, self._nice + LATER)

    def begin(self) -> None:
        gc.disable()

    def go_first(self) -> None:
        """The order is here. Who gave it has done so too, for one that sleeps; but it may have begun to wait since."""
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, FIRST)

    def end(self) -> None:
        """What was made meanwhile is not looked at by the collector again: it stays."""
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, self._nice)
        gc.freeze()
        gc.enable()
