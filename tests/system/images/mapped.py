"""A child that finds memory mapped, and uses it as its first argument says."""

from __future__ import annotations

import ctypes

COUNT, WRITE = range(2)
PAGE = 4096


def main(what: int, address: int, pages: int, *_: int) -> int:
    if what == WRITE:
        for number in range(pages):
            ctypes.c_uint64.from_address(address + number * PAGE).value = 1
        return 0
    assert what == COUNT
    counter, stop, result = (ctypes.c_uint64.from_address(address + 8 * number) for number in range(3))
    own = 0
    while not stop.value:
        counter.value += 1
        own += 1
    result.value = own
    return 0
