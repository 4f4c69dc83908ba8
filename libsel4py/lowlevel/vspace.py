"""Which addresses of an address space are free for mappings: a buddy allocator over MAPPING_BASE..MAPPING_END.

Rules: the allocator knows numbers, not mappings; whoever frees a range has unmapped it before. What it gives out is
aligned to its size rounded up to a power of two, so that frames of any size can be laid into it, largest first. A range
is given out at most once between two frees; the lowest that fits is taken, so that the same requests always have the
same answers. Each step costs the logarithm of the address space, however many ranges there are. One lock guards it.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from libsel4py.abi import BOOT_INFO_ADDRESS, BOOT_INFO_FRAME_BITS, FRAME_MIN_BITS, MAPPING_BASE, MAPPING_END

PAGE_BYTES: Final = 1 << FRAME_MIN_BITS
BOOT_INFO: Final = range(BOOT_INFO_ADDRESS, BOOT_INFO_ADDRESS + (1 << BOOT_INFO_FRAME_BITS))


class OutOfAddresses(MemoryError):
    """No free range of addresses is long enough."""


@dataclass(frozen=True, slots=True)
class AddressStatistics:
    """Bytes of addresses: of the whole, free, in the largest block that can be given out; and how many ranges are."""

    total_bytes: int
    free_bytes: int
    largest_free_bytes: int
    ranges: int


class AddressAllocator:
    """Free addresses among ``base``..``end - 1``.

    Args:
        base, end: multiples of 4096.
        taken: ranges in use already; by default the place where the initial task finds BootInfo.
    Raises:
        ValueError: base or end is no multiple of 4096, or taken ranges overlap or lie outside.
    """

    def __init__(self, base: int = MAPPING_BASE, end: int = MAPPING_END, taken: Iterable[range] = (BOOT_INFO,)) -> None:
        if base % PAGE_BYTES or end % PAGE_BYTES or not 0 <= base < end:
            raise ValueError(f"{base:#x}..{end:#x} is no range of whole pages")
        self._base, self._end = base, end
        self._free: dict[int, set[int]] = {}  # by log2 of the block's bytes: where such blocks begin
        self._lowest: dict[int, list[int]] = {}  # a heap of the same, with some that are free no more
        self._taken: dict[int, int] = {}  # first address: bytes, whole pages
        self._free_bytes = end - base
        self._lock = threading.Lock()
        for start, bits in _blocks(base, end - base):
            self._put(start, bits)
        for each in taken:
            self.reserve(each.start, len(each))

    @property
    def free_bytes(self) -> int:
        return self._free_bytes

    def statistics(self) -> AddressStatistics:
        with self._lock:
            largest = max((bits for bits, starts in self._free.items() if starts), default=None)
            free = 0 if largest is None else 1 << largest
            return AddressStatistics(self._end - self._base, self._free_bytes, free, len(self._taken))

    def allocate(self, size: int) -> int:
        """The first address of ``size`` free bytes, aligned to ``size`` rounded up to a power of two.

        Raises:
            OutOfAddresses: nothing is left for it. ValueError: ``size`` is below 1.
        """
        if size < 1:
            raise ValueError(f"cannot allocate {size} bytes of addresses: ask for 1 or more")
        bits = max((size - 1).bit_length(), FRAME_MIN_BITS)
        with self._lock:
            fitting = [(starts[0], each) for each in list(self._free) if each >= bits and (starts := self._heap(each))]
            if not fitting:
                raise OutOfAddresses(
                    f"no {1 << bits} free addresses in a row: {self._free_bytes} of {self._end - self._base} are free"
                )
            start, found = min(fitting)
            self._take_out(start, found, start, bits)
            self._taken[start] = 1 << bits
            self._free_bytes -= 1 << bits
        return start

    def reserve(self, address: int, size: int) -> None:
        """Take particular addresses; the size counts in whole pages.

        Raises:
            ValueError: the address is no multiple of 4096, or some of them are not free or not of this allocator.
        """
        if address % PAGE_BYTES or size < 1:
            raise ValueError(f"{size} bytes at {address:#x} are no whole pages")
        size = -(-size // PAGE_BYTES) * PAGE_BYTES
        if not self._base <= address <= address + size <= self._end:
            raise ValueError(f"{address:#x}..{address + size:#x} is not in {self._base:#x}..{self._end:#x}")
        wanted = list(_blocks(address, size))
        with self._lock:
            found = [self._around(start, bits) for start, bits in wanted]
            if None in found:
                raise ValueError(f"{address:#x}..{address + size:#x} is in use already, at least in part")
            for start, bits in wanted:
                around = self._around(start, bits)  # once more: the block may have been split for the one before
                assert around is not None
                self._take_out(*around, start, bits)
            self._taken[address] = size
            self._free_bytes -= size

    def free(self, address: int) -> None:
        """Give back what begins at an address. Raises ValueError if nothing that was given out does."""
        with self._lock:
            size = self._taken.pop(address, None)
            if size is None:
                raise ValueError(f"{address:#x} is not the first address of a range that was given out: freed already?")
            self._free_bytes += size
            for start, bits in _blocks(address, size):
                self._join(start, bits)

    def _put(self, start: int, bits: int) -> None:
        self._free.setdefault(bits, set()).add(start)
        heapq.heappush(self._lowest.setdefault(bits, []), start)

    def _heap(self, bits: int) -> list[int]:
        """The free blocks of this size as a heap whose first is free."""
        heap, free = self._lowest[bits], self._free[bits]
        while heap and heap[0] not in free:
            heapq.heappop(heap)
        if len(heap) > 2 * len(free) + 8:
            heap[:] = sorted(free)
        return heap

    def _around(self, start: int, bits: int) -> tuple[int, int] | None:
        """The free block that holds this one."""
        for each in self._free:
            if each >= bits and start >> each << each in self._free[each]:
                return start >> each << each, each
        return None

    def _take_out(self, start: int, bits: int, wanted: int, wanted_bits: int) -> None:
        """Split a free block down to the one that is wanted; the other halves stay free."""
        self._free[bits].remove(start)
        while bits > wanted_bits:
            bits -= 1
            low, high = start, start + (1 << bits)
            start, other = (low, high) if wanted < high else (high, low)
            self._put(other, bits)

    def _join(self, start: int, bits: int) -> None:
        """Put a block back, joined with its neighbour as long as that is free too."""
        while (buddy := start ^ 1 << bits) in self._free.get(bits, ()):
            self._free[bits].remove(buddy)
            start, bits = min(start, buddy), bits + 1
        self._put(start, bits)


def _blocks(address: int, size: int) -> Iterator[tuple[int, int]]:
    """A range of whole pages as the fewest blocks that are aligned to their size: (start, log2 of the bytes)."""
    end = address + size
    while address < end:
        bits = (end - address).bit_length() - 1
        if address:
            bits = min(bits, (address & -address).bit_length() - 1)
        yield address, bits
        address += 1 << bits
