"""A boot image that ends in the way its first argument says."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import sys
import threading
from pathlib import Path

import hw.cpu
from libsel4py import abi
from libsel4py.abi import Syscall

RETURN, RAISE, SEGFAULT, WAIT, EXIT, REPORT, EXIT_TEXT, COUNT, WORK, FLOOD, RING_BELL, SCRIBBLE, FORBIDDEN = range(13)


DOORBELL = 4  # stdin, stdout, stderr, the frame, the doorbell, the control socket


def trap_frame() -> int:
    """Where this process has its trap frame mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return next(int(line.partition("-")[0], 16) for line in lines if "sel4py-frame" in line)


def open_descriptors() -> list[int]:
    found = []
    for descriptor in range(1024):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        found.append(descriptor)
    return found


def main(what: int, value: int = 0, *rest: int) -> int | None:
    if what == RETURN:
        return value
    if what == RAISE:
        raise LookupError("the image failed on purpose")
    if what == SEGFAULT:
        faulthandler._sigsegv()  # type: ignore[attr-defined]
    if what == WAIT:
        print("waiting", flush=True)
        threading.Event().wait()
    if what in (WORK, FLOOD):
        while value or what == FLOOD:
            hw.cpu.trap(Syscall.YIELD, 0, 0, 0, 0, 0, 0)
            value -= 1
    if what == RING_BELL:
        while True:
            os.eventfd_write(DOORBELL, 1)
    if what == SCRIBBLE:
        ctypes.memset(trap_frame(), 0x5A, 1 << abi.TRAP_FRAME_BITS)
        os.eventfd_write(DOORBELL, 1)
        threading.Event().wait()
    if what == FORBIDDEN:
        ctypes.CDLL(None).ptrace(value, 11, 12, 13)
        print("it went on", flush=True)
    if what == COUNT:
        for _ in range(value):
            pass
    if what == EXIT:
        sys.exit(value)
    if what == EXIT_TEXT:
        sys.exit("ended with a text")
    if what == REPORT:
        print(dict(os.environ), open_descriptors(), os.getsid(0) == os.getpid(), sys.stdin.read() == "")
        print((value, *rest))
    return None
