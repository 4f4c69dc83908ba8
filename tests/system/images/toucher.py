"""A boot image that touches memory as it is told: by bytecode, by C code, by a jump. Many threads may run it.

Arguments: the endpoint on which orders come (label: one of the numbers below; words: address, value), and the endpoint
to which each result goes (label RESULT, word: what was read, or 0). MAP maps the frame whose slot is the value, into
the address space and with the rights that two more words say. SWEEP reads a byte of each of as many pages as the value
says; its result is their sum.
"""

from __future__ import annotations

import ctypes
import signal
import threading

from libsel4py.abi import Rights
from libsel4py.capabilities import Endpoint, Frame, VSpace
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message

READ, WRITE, C_READ, C_WRITE, EXECUTE, ADD, RESULT, MAP, ARM, ALARM, SWEEP = range(1, 12)
PAGE = 4096
kept: list[object] = []  # the handler, which nobody else refers to


def touch(what: int, address: int, value: int) -> int:
    """Touch one byte, or a page of them (C_READ and C_WRITE, by memcpy). Returns what was read."""
    if what == READ:
        return ctypes.c_ubyte.from_address(address).value
    if what == WRITE:
        ctypes.c_ubyte.from_address(address).value = value
        return 0
    if what == C_READ:
        return ctypes.string_at(address, PAGE)[0]
    if what == C_WRITE:
        ctypes.memmove(address, bytes([value]) * PAGE, PAGE)
        return 0
    if what == SWEEP:
        return sum(ctypes.c_ubyte.from_address(address + number * PAGE).value for number in range(value))
    if what == ADD:
        word = ctypes.c_uint64.from_address(address)
        for _ in range(value):
            word.value += 1
        return word.value
    if what == ARM:
        kept[:] = [ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda _: touch(READ, address, 0))]
        ctypes.CDLL(None).signal(signal.SIGALRM, kept[0])
        return 0
    if what == ALARM:
        identity = threading.main_thread().ident
        assert identity is not None
        signal.pthread_kill(identity, signal.SIGALRM)
        return 0
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())


def main(orders: int, results: int, *_: int) -> None:
    while True:
        order = syscalls.wait(orders)
        address, value, *more = order.words
        read = 0
        if order.label == MAP:
            Frame(value).map(address, Rights(more[1]), 0, vspace=VSpace(more[0]))
        else:
            read = touch(order.label, address, value)
        Endpoint(results).send(Message(RESULT, (read,)))
