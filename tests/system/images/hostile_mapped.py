"""A boot image to which memory is mapped, and that makes of it what its first argument says."""

from __future__ import annotations

import ctypes
import os
import random
import threading
import time

import hw.cpu
from libsel4py.abi import Syscall

RETRY, WILD, NO_KEEPER, WRONG_ANSWERS, TOUCH, COUNT, RETURN, CALLS, PLAIN, PLAIN_GUARDED = range(10)
CONTROL = 5  # behind stdin, stdout, stderr, the frame, the doorbell
WORDS = (0, 1, 0xFFF, 1 << 44, (1 << 47) - 1, 1 << 47, 1 << 63, (1 << 64) - 1)


def fault(address: int, ip: int, kind: int) -> None:
    hw.cpu.trap(Syscall.FAULT, 0, 0, address, ip, kind, 0)


def retry(address: int) -> None:
    """As if it had met with memory that was not there yet."""
    while True:
        fault(address, 0, 0)


def wild(seed: int) -> None:
    """Faults that no processor has."""
    chance = random.Random(seed)
    while True:
        fault(chance.choice(WORDS), chance.choice(WORDS), chance.choice(WORDS) | 1 << 32)


def no_keeper(address: int, answer: bytes) -> None:
    """Take nearly all of the keeper's messages, and answer them with nothing, or wrongly."""

    ctypes.c_uint64.from_address(address).value = 1

    def take() -> None:
        while True:
            data = os.read(CONTROL, 256)  # what comes with it is closed by the host
            if answer:
                os.write(CONTROL, answer + data[4:])

    threading.stack_size(64 << 10)
    for _ in range(24):
        threading.Thread(target=take, daemon=True).start()
    threading.Event().wait()


def touch(address: int, bytes_: int) -> int:
    """Read and write each page."""
    for at in range(address, address + bytes_, 4096):
        ctypes.c_uint64.from_address(at).value += 1
    return 0


def calls() -> int:
    """System calls for two seconds, one after another; returns how many milliseconds the longest one took."""
    worst = 0
    begun = last = time.monotonic_ns()
    while last - begun < 2_000_000_000:
        hw.cpu.trap(Syscall.YIELD, 0, 0, 0, 0, 0, 0)
        now = time.monotonic_ns()
        worst, last = max(worst, now - last), now
    return min(worst // 1_000_000, 255)


def plain(address: int, guarded: bool) -> int:
    """Count by a thread that no TCB stands for, until the second word is set."""
    view = hw.cpu.Mapping(address, 4096, True)

    def count() -> None:
        word, stop = (ctypes.c_uint64.from_address(address + offset) for offset in (0, 8))
        while not (view.load_word(8) if guarded else stop.value):
            if guarded:
                view.store_word(0, view.load_word(0) + 1)
            else:
                word.value += 1

    threading.stack_size(64 << 10)
    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    return 0


def main(what: int, address: int = 0, value: int = 0, *_: int) -> int:
    if what == RETRY:
        retry(address)
    if what == WILD:
        wild(value)
    if what == NO_KEEPER:
        no_keeper(address, b"")
    if what == WRONG_ANSWERS:
        no_keeper(address, b"\xff\xff\xff\xff")
    if what == TOUCH:
        return touch(address, value)
    if what in (PLAIN, PLAIN_GUARDED):
        return plain(address, what == PLAIN_GUARDED)
    if what == CALLS:
        return calls()
    if what == COUNT:
        word = ctypes.c_uint64.from_address(address)
        while True:
            word.value += 1
    return value
