"""memfds that are made ahead for small frames: a page fault waits for none to be made, nor wakes the monitor.

They are made some at a time, twice as many each time up to `MOST_MADE`, and the monitor is told of all of them by one
message. Which frame's memory one has become stands in a table of words, in memory that the monitor keeps as well and
only the kernel writes. So to give one away is one store.

    stocked         the table: by number the frame's physical address, 0 for none
    stock:NUMBER    a memfd; its bytes

A number's word is 0 before the monitor is told of a memfd under it, and again once the memfd is another entry's or is
withdrawn. Where a kernel dies between, there is a word without a memfd, which means nothing; or one whose frame has an
entry of its own by now, which counts (frame_memory.py).
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections import deque
from typing import Final, NamedTuple

from kerneld.host.descriptors import leaves_for_others
from kerneld.host.fd_store import KEPT_TOGETHER, FdStore, Inheritance
from libsel4py import abi

SIZE: Final = 1 << abi.FRAME_MIN_BITS
SEALS: Final = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
NUMBERS: Final = 1 << 15  # no kernel has as many descriptors for frames
FIRST_MADE: Final = 4
MOST_MADE: Final = KEPT_TOGETHER
TABLE: Final = "stocked"


class Stocked(NamedTuple):
    """A memfd of the stock, or from it."""

    number: int
    descriptor: int


class FrameStock:
    """Those that are no frame's yet, and the numbers of those that are."""

    def __init__(self, store: FdStore) -> None:
        self._store = store
        self._made: deque[Stocked] = deque()
        self._table: memoryview | None = None  # of words
        self._free: list[int] = []  # numbers, below `_next`
        self._next = 0
        self._batch = FIRST_MADE

    @property
    def descriptors(self) -> int:
        """How many it has open: those that are no frame's yet, and its table's."""
        return len(self._made) + (self._table is not None)

    def take(self) -> Stocked:
        """One that is empty and is the caller's to `use` or to `free`.

        Raises:
            OSError: the host has no more descriptors or memory.
        """
        if not self._made:
            self._make()
        return self._made.popleft()

    def use(self, number: int, address: int) -> None:
        """From here on it is the memory of the frame at this physical address."""
        self._words()[number] = address

    def free(self, number: int) -> None:
        """The monitor was told to forget it, or keeps it under another key."""
        self._words()[number] = 0
        self._free.append(number)

    def close(self) -> None:
        for _, descriptor in self._made:
            os.close(descriptor)
        self._made.clear()

    def _make(self) -> None:
        """Some, or as many as the host has for frames."""
        made: list[Stocked] = []
        try:
            while len(made) < self._batch:
                made.append(self._make_one())
        except OSError:
            if not made:
                raise
        words = self._words()
        for number, _ in made:
            words[number] = 0
        self._store.keep_some([key(number) for number, _ in made], [each.descriptor for each in made], SIZE)
        self._made.extend(made)
        self._batch = min(2 * self._batch, MOST_MADE)

    def _make_one(self) -> Stocked:
        number = self._new_number()
        try:
            return Stocked(number, make_memory("sel4py-frame", SIZE))
        except BaseException:
            self._free.append(number)
            raise

    def _new_number(self) -> int:
        if self._free:
            return self._free.pop()
        if self._next == NUMBERS:
            raise OSError(errno.EMFILE, "all numbers of small frames' memory are taken")
        self._next += 1
        return self._next - 1

    def _words(self) -> memoryview:
        if self._table is None:
            descriptor = os.memfd_create("sel4py-stock", os.MFD_CLOEXEC)
            try:
                os.ftruncate(descriptor, 8 * NUMBERS)
                self._store.keep(TABLE, descriptor)
                self._table = _map(descriptor)
            finally:
                os.close(descriptor)
        return self._table

    # --- a kernel before this one

    def restore(self, inherited: Inheritance) -> list[tuple[int, Stocked]]:
        """What it had. Returns those that were used, by their frames' addresses; and by 0 what is to be withdrawn."""
        kept = inherited.take(TABLE)
        if kept is None:
            return []
        self._table = _map(kept.descriptor)
        os.close(kept.descriptor)
        used: list[tuple[int, Stocked]] = []
        numbers: set[int] = set()
        for name, entry in inherited.take_all("stock"):
            number = int(name, 16)
            numbers.add(number)
            stocked, status = Stocked(number, entry.descriptor), os.fstat(entry.descriptor)
            if status.st_size != SIZE:
                used.append((0, stocked))
            elif self._table[number] or status.st_blocks:  # bytes that were on their way to a frame are nobody's
                used.append((self._table[number], stocked))
            else:
                self._made.append(stocked)
        self._next = max(numbers, default=-1) + 1
        self._free = [number for number in range(self._next) if number not in numbers]
        return used


def make_memory(name: str, size: int) -> int:
    """A memfd for a frame: it cannot grow again once it was truncated.

    Raises:
        OSError: the host has no more descriptors or memory for frames.
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        if not leaves_for_others(descriptor):
            raise OSError(errno.EMFILE, "the descriptors that are left are not for frames")
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def key(number: int) -> str:
    """What the monitor keeps it under."""
    return f"stock:{number:x}"


def _map(descriptor: int) -> memoryview:
    return memoryview(mmap.mmap(descriptor, 8 * NUMBERS)).cast("Q")
