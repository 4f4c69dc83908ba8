"""A boot image that attacks the kernel in the way its first argument says."""

from __future__ import annotations

import os
import threading

import hw.cpu
from libsel4py.abi import Syscall

RING, EXIT_AND_RING, WAIT, RETURN = range(4)
DOORBELL = 4  # stdin, stdout, stderr, the frame, the doorbell, the control socket


def ring() -> None:
    while True:
        os.eventfd_write(DOORBELL, 1)


def main(what: int, value: int = 0, *_: int) -> int:
    if what == RING:
        hw.cpu.trap(Syscall.SEND, value, 0, 0, 0, 0, 0)
        ring()
    if what == EXIT_AND_RING:
        threading.Thread(target=ring).start()
        hw.cpu.trap(Syscall.EXIT, 0, 0, value, 0, 0, 0)
    if what == WAIT:
        threading.Event().wait()
    return value
