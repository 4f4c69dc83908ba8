"""A boot image that touches pages, or takes frames away, as it is told. Many threads of one process may run it.

Arguments: the endpoint on which orders come (label: one of the numbers below; words: what and how much), and the
endpoint to which each result goes (label RESULT, one word). Memory is touched by the C library without the GIL, so that
threads fault at once.
"""

from __future__ import annotations

import ctypes

from libsel4py.abi import InitialSlot
from libsel4py.capabilities import CNode, Endpoint, Frame
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message

FILL, SEEN, ADD, UNMAP, REVOKE, DELETE, RESULT = range(1, 8)
PAGE = 4096
WORD = 8


def fill(address: int, value: int) -> int:
    """Write a whole page of these bytes."""
    ctypes.memmove(address, bytes([value]) * PAGE, PAGE)
    return 0


def seen(address: int, _: int) -> int:
    """Which bytes are anywhere in the page: bit n stands for byte n."""
    page = ctypes.create_string_buffer(PAGE)
    ctypes.memmove(page, address, PAGE)
    return sum(1 << byte for byte in set(page.raw))


def add(address: int, times: int) -> int:
    """Add 1 to a word so often, which nobody else writes; what it is then."""
    word = ctypes.c_uint64()
    for _ in range(times):
        ctypes.memmove(ctypes.byref(word), address, WORD)
        word.value += 1
        ctypes.memmove(address, ctypes.byref(word), WORD)
    return word.value


def take(how: int, slot: int) -> int:
    """Take a frame from whoever has it mapped by the capability in a slot, or by copies of it."""
    if how == UNMAP:
        Frame(slot).unmap()
    elif how == REVOKE:
        CNode(InitialSlot.CNODE).revoke(slot)
    else:
        CNode(InitialSlot.CNODE).delete(slot)
    return 0


TOUCHES = {FILL: fill, SEEN: seen, ADD: add}


def main(orders: int, results: int, *_: int) -> None:
    while True:
        order = syscalls.wait(orders)
        what, much = order.words
        touch = TOUCHES.get(order.label)
        result = take(order.label, what) if touch is None else touch(what, much)
        Endpoint(results).send(Message(RESULT, (result,)))
