"""Linux's own user-level paging: userfaultfd(2), handled by another Python process, one page a fault.

``python -m bench.memory.userfault``: prints its pid and the handler's, then answers each line of
standard input ``touch PAGES`` with the seconds that a first read of one page took, in a round over so many.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
import socket
import struct
import sys
import time
from typing import Final, NoReturn

from bench.ipc.stand import die_with_parent, end, fork

PAGES: Final = 4096
PAGE: Final = mmap.PAGESIZE
SYSCALL: Final = {"x86_64": 323, "aarch64": 282}
USER_MODE_ONLY: Final = 1
API: Final = 0xAA
# struct uffdio_api, uffdio_register, uffdio_zeropage; linux/userfaultfd.h
UFFDIO_API: Final = 0xC018AA3F
UFFDIO_REGISTER: Final = 0xC020AA00
UFFDIO_ZEROPAGE: Final = 0xC020AA04
REGISTER_MISSING: Final = 1
EVENT_PAGEFAULT: Final = 0x12
MESSAGE_BYTES: Final = 32


class Unavailable(Exception):
    """The host gives this process no userfaultfd; the text says why."""


def open_userfaultfd() -> int:
    """A userfaultfd of this process, its interface agreed on.

    Raises:
        Unavailable: another architecture, or the host refuses (vm.unprivileged_userfaultfd, seccomp, no such call).
    """
    number = SYSCALL.get(platform.machine())
    if number is None:
        raise Unavailable(f"its system call number on {platform.machine()} is not known here")
    library = ctypes.CDLL(None, use_errno=True)
    descriptor: int = library.syscall(number, os.O_CLOEXEC | USER_MODE_ONLY)
    if descriptor < 0:
        raise Unavailable(os.strerror(ctypes.get_errno()))
    fcntl.ioctl(descriptor, UFFDIO_API, struct.pack("<3Q", API, 0, 0))
    return descriptor


class Paged:
    """Memory whose pages another process fills in when they are first touched."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, PAGES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._memory)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        descriptor = open_userfaultfd()
        fcntl.ioctl(descriptor, UFFDIO_REGISTER, struct.pack("<4Q", address, PAGES * PAGE, REGISTER_MISSING, 0))
        ours, theirs = socket.socketpair()
        self.handler = fork(lambda: _handle(theirs, ours))
        theirs.close()
        socket.send_fds(ours, [b"f"], [descriptor])
        os.close(descriptor)  # the handler's alone from now on
        self._socket = ours

    def touch(self, pages: int) -> float:
        """Seconds that the first read of a page takes: the mean over so many, in order of their addresses."""
        self._memory.madvise(mmap.MADV_DONTNEED)
        view, end_of_pages = self._view, pages * PAGE
        start = time.perf_counter()
        for offset in range(0, end_of_pages, PAGE):
            view[offset]
        return (time.perf_counter() - start) / pages


def _handle(channel: socket.socket, other: socket.socket) -> NoReturn:
    """Fill every page that is missed with zeroes, as a demand pager does."""
    other.close()
    _, (descriptor,), _, _ = socket.recv_fds(channel, 1, 1)
    request = bytearray(32)
    pack, read, ioctl = struct.Struct("<3Qq").pack_into, os.read, fcntl.ioctl
    address_of = struct.Struct("<16xQ8x").unpack
    while True:
        message = read(descriptor, MESSAGE_BYTES)
        if message[0] != EVENT_PAGEFAULT:
            continue
        pack(request, 0, address_of(message)[0] & -PAGE, PAGE, 0, 0)
        ioctl(descriptor, UFFDIO_ZEROPAGE, request)


def main() -> NoReturn:
    die_with_parent(os.getppid())
    try:
        paged = Paged()
    except Unavailable as reason:
        sys.exit(f"this host has no userfaultfd for us: {reason}")
    print(os.getpid(), paged.handler, flush=True)
    for order in sys.stdin:
        match order.split():
            case ["touch", pages]:
                print(f"{paged.touch(min(int(pages), PAGES)):.12f}", flush=True)
            case _:
                raise ValueError(f"unknown order {order!r}")
    end(paged.handler)
    os._exit(0)


if __name__ == "__main__":
    main()
