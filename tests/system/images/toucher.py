"""A boot image that touches memory as it is told: by bytecode, by C code, by a jump. Many threads may run it.

Arguments: the endpoint on which orders come (label: one of the numbers below; words: address, value), and the endpoint
to which each result goes (label RESULT, word: what was read, or 0).
"""

from __future__ import annotations

import ctypes

from libsel4py.capabilities import Endpoint
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message

READ, WRITE, C_READ, C_WRITE, EXECUTE, ADD, RESULT = range(1, 8)
PAGE = 4096


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
    if what == ADD:
        word = ctypes.c_uint64.from_address(address)
        for _ in range(value):
            word.value += 1
        return word.value
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())


def main(orders: int, results: int, *_: int) -> None:
    while True:
        order = syscalls.wait(orders)
        address, value = order.words
        Endpoint(results).send(Message(RESULT, (touch(order.label, address, value),)))
