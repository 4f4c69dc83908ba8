"""memfds that are made ahead for small frames: a page fault waits for none to be made, nor wakes the monitor.

They are made some at a time, twice as many each time up to `MOST_MADE`, and the monitor is told of all of them by one
message. Once some were taken, a few at a time are made in their place while the kernel has nothing else to do; the
monitor is told of these together as well, and none is taken before.

Which frame's memory one has become stands in a table of words, in memory that the monitor keeps as well and only the
kernel writes. So to give one away is one store.

    stocked         the table: by number the frame's physical address, 0 for none
    stock:NUMBER    a memfd; its bytes

A number's word is 0 before the monitor is told of a memfd under it, and again once the memfd is another entry's or is
withdrawn. Where a kernel dies between, there is a word without a memfd, which means nothing; or one whose frame has an
entry of its own by now, which counts (frame_memory.py).
"""

from __future__ import annotations

import errno
import mmap
import os
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from hw.ram import Ram
from hw.window import lay_fresh, make_memories
from kerneld.host.descriptors import below_for_frames
from kerneld.host.fd_store import KEPT_TOGETHER, FdStore, Inheritance
from libsel4py import abi

SIZE: Final = 1 << abi.FRAME_MIN_BITS
NUMBERS: Final = 1 << 15  # no kernel has as many descriptors for frames
FIRST_MADE: Final = 4
MADE_TOGETHER: Final = 4  # while there is time: some 20 us
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
        self._untold: list[Stocked] = []  # of which the monitor knows nothing yet
        self._level = 0  # so many are there to be, told or not

    @property
    def descriptors(self) -> int:
        """How many it has open: those that are no frame's yet, and its table's."""
        return self.ready + (self._table is not None)

    @property
    def ready(self) -> int:
        """How many are no frame's yet."""
        return len(self._made) + len(self._untold)

    @property
    def untold(self) -> int:
        """How many of them the monitor does not keep yet."""
        return len(self._untold)

    def take(self) -> Stocked:
        """One that is empty and is the caller's to `use` or to `free`.

        Raises:
            OSError: the host has no more descriptors or memory.
        """
        if not self._made:
            self._make()
        return self._made.popleft()

    def make_ahead(self) -> bool:
        """Make a few more, where some were taken: there is time. False if there was nothing to do."""
        missing = self._level - self.ready
        if missing <= 0:
            return False
        try:
            self._untold += self._make_some(min(missing, MADE_TOGETHER, MOST_MADE - len(self._untold)))
        except OSError:
            self._level = 0  # whoever takes one is told, where there is none
            return False
        if len(self._untold) == MOST_MADE:
            self._tell()
        return True

    @property
    def shared(self) -> tuple[Sequence[Stocked], memoryview]:
        """What `take` gives next, in order, and the table: for the fast path, which lays them as `lay` does."""
        return self._made, self._words()

    def laid(self, address: int) -> Stocked:
        """Take the next one, which the fast path has laid over the window at this address."""
        taken = self._made.popleft()
        assert self._words()[taken.number] == address, f"{taken} is not the memory of the frame at {address:#x}"
        return taken

    def lay(self, ram: Ram, ram_fd: int, address: int) -> Stocked | None:
        """Take one, which becomes the memory of the frame at this physical address, and lay it over the window there.

        None, and none is taken, where RAM holds bytes of the frame.

        Raises:
            OSError: as `take`, or the host has no more mappings.
        """
        taken = self.take()
        try:
            if lay_fresh(ram, ram_fd, address, SIZE, taken.descriptor, self._words(), taken.number):
                return taken
        except BaseException:
            self._made.appendleft(taken)
            raise
        self._made.appendleft(taken)
        return None

    def use(self, number: int, address: int) -> None:
        """From here on it is the memory of the frame at this physical address."""
        self._words()[number] = address

    def free(self, number: int) -> None:
        """The monitor was told to forget it, or keeps it under another key."""
        self._words()[number] = 0
        self._free.append(number)

    def close(self) -> None:
        for _, descriptor in (*self._made, *self._untold):
            os.close(descriptor)
        self._made.clear()
        self._untold.clear()

    def _make(self) -> None:
        """Some, or as many as the host has for frames."""
        if not self._untold:
            self._untold += self._make_some(self._batch)
            self._batch = min(2 * self._batch, MOST_MADE)
        self._level = 2 * self._batch
        self._tell()

    def _make_some(self, count: int) -> list[Stocked]:
        numbers = self._new_numbers(count)
        try:
            descriptors = _make_memories("sel4py-frame", len(numbers), SIZE)
        except BaseException:
            self._free += numbers
            raise
        self._free += numbers[len(descriptors) :]
        return list(map(Stocked, numbers, descriptors))

    def _tell(self) -> None:
        """Have the monitor keep those of which it knows nothing yet: they can be taken then."""
        words, untold = self._words(), self._untold
        for number, _ in untold:
            words[number] = 0
        self._store.keep_some([key(number) for number, _ in untold], [each.descriptor for each in untold], SIZE)
        self._made += untold
        untold.clear()

    def _new_numbers(self, count: int) -> list[int]:
        """So many, or as many as there are."""
        kept = max(len(self._free) - count, 0)
        numbers = self._free[kept:]
        del self._free[kept:]
        end = min(self._next + count - len(numbers), NUMBERS)
        numbers += range(self._next, end)
        self._next = end
        if not numbers:
            raise OSError(errno.EMFILE, "all numbers of small frames' memory are taken")
        return numbers

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
    (made,) = _make_memories(name, 1, size)
    return made


def _make_memories(name: str, count: int, size: int) -> list[int]:
    """As `make_memory`, so many, or as many as the host has."""
    try:
        return make_memories(name, count, size, below_for_frames())
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        raise OSError(errno.EMFILE, "the descriptors that are left are not for frames") from error


def key(number: int) -> str:
    """What the monitor keeps it under."""
    return f"stock:{number:x}"


def _map(descriptor: int) -> memoryview:
    return memoryview(mmap.mmap(descriptor, 8 * NUMBERS)).cast("Q")
