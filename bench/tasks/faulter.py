"""A boot image that reads pages that are not there, as it is told, and says how long that took.

Arguments: the endpoint on which orders come (words: address of the first page, pages), and the endpoint to which each
result goes (label DONE, word: nanoseconds in all). Its page faults go where its TCB says.
"""

from __future__ import annotations

import ctypes
import time

from libsel4py.capabilities import Endpoint
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message

DONE = 100
PAGE = 4096


def main(orders: int = 0, results: int = 0, *_: int) -> None:
    """Serve for ever; end at once where there is nobody to serve (root starts every task of a description)."""
    if not orders:
        return
    clock = time.perf_counter_ns
    while True:
        address, pages = syscalls.wait(orders).words
        view = memoryview((ctypes.c_ubyte * (pages * PAGE)).from_address(address)).cast("B")
        start = clock()
        for offset in range(0, pages * PAGE, PAGE):
            view[offset]
        Endpoint(results).send(Message(DONE, (clock() - start,)))
