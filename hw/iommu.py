"""What devices see of RAM: the mappings of their IOSpaces, and nothing else.

Rules. A device reaches memory by its `DmaPort` alone, at addresses of its IOSpace. Who maps what is the kernel's to say
(`use_translation`): it is asked at each access, or says when what it has said is over (`forget`), before anything else
can happen to the memory; so a mapping that was taken away is gone at once.
An access is checked in its whole length before the first byte moves: a fault leaves memory alone. Bytes are copied
once; what a device has read, the driver cannot change any more. Only frames are mapped, so no DMA meets a kernel's
record, and none needs a transaction.

A fault is for the driver: the device catches `DmaFault`, says so in its own status, and interrupts.
"""

from __future__ import annotations

import struct
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from hw._ram import load, store
from hw.ram import Ram

KEPT: Final = 8  # mappings of which a port knows without asking
_SPAN: Final = struct.Struct("<4Q")
MAX_TRANSFER: Final = 1 << 20  # bytes that one access moves: the kernel does nothing else meanwhile


class FaultKind(IntEnum):
    """Why an access was refused."""

    NOT_MAPPED = 1
    READ_DENIED = 2
    WRITE_DENIED = 3
    MISALIGNED = 4  # a number that is not aligned to its size
    TOO_LONG = 5  # more than MAX_TRANSFER bytes


class DmaFault(Exception):
    """The IOSpace does not allow an access.

    Attributes:
        device: its number. address: the first one of its IOSpace that is refused. kind: why.
    """

    def __init__(self, device: int, address: int, kind: FaultKind) -> None:
        super().__init__(f"device {device} at 0x{address:x} of its IOSpace: {kind.name}")
        self.device = device
        self.address = address
        self.kind = kind


class Span(NamedTuple):
    """What an IOSpace's address means: a physical address, and for how many bytes the mapping goes on from there.

    ``before``: as many bytes in front of it are mapped in the same way.
    """

    physical: int
    size: int
    readable: bool
    writable: bool
    before: int = 0


class Segment(NamedTuple):
    """A part of a scatter list: an address of the IOSpace, and bytes."""

    address: int
    size: int


def first_bytes(segments: Iterable[Segment], size: int) -> Iterator[Segment]:
    """The first bytes of a scatter list, so many or all: a device need not reach what it has nothing for."""
    for address, part in segments:
        if size <= 0:
            return
        yield Segment(address, min(part, size))
        size -= part


Buffer = bytes | bytearray | memoryview
Translate = Callable[[int, int], Span | None]


@dataclass(frozen=True, slots=True)
class DmaStatistics:
    """What a device has done since this machine was made."""

    reads: int = 0
    read_bytes: int = 0
    writes: int = 0
    written_bytes: int = 0
    faults: int = 0


_READS, _READ_BYTES, _WRITES, _WRITTEN_BYTES, _FAULTS = range(5)  # as they are in `DmaStatistics`


def _no_counts() -> array[int]:
    return array("Q", bytes(5 * 8))


def _nothing(device: int, address: int) -> Span | None:
    return None


class Iommu:
    """Stands between the devices and RAM. Until `use_translation` nothing is mapped."""

    def __init__(self, ram: Ram) -> None:
        self.ram = ram
        self.translate: Translate = _nothing
        self.keeps = False
        self._ports: list[DmaPort] = []
        self.last_faults: dict[int, DmaFault] = {}  # by device number
        self._counts: defaultdict[int, array[int]] = defaultdict(_no_counts)

    def use_translation(self, translate: Translate, keep: bool = False) -> None:
        """Who says what an address of a device (its number) means: `translate(device, address)`, None for nothing.

        Args:
            keep: the answers may be kept until `forget` is called.
        """
        self.translate = translate
        self.keeps = keep
        self.forget()

    def forget(self) -> None:
        """A mapping of some IOSpace is another one from now on, or none."""
        for port in self._ports:
            port.forget()

    def port(self, device: int) -> DmaPort:
        """What the device of this number reads and writes by."""
        made = DmaPort(self, device, self._counts[device])
        self._ports.append(made)
        return made

    def statistics(self, device: int) -> DmaStatistics:
        return DmaStatistics(*self._counts[device])


class DmaPort:
    """A device's way to memory. Addresses are its IOSpace's, numbers little-endian.

    Everything here raises DmaFault, and then has moved nothing.

    Attributes:
        table: the mappings that are known now, for C, which may look at it at any time (hw/_net/batch.h, struct table):
            how many, and of each the first address, the end, what the first one means, and rights. Others there may be
            as well. counts: what is counted here and by C, as `DmaStatistics` has it.
    """

    def __init__(self, iommu: Iommu, device: int, counts: array[int]) -> None:
        self._iommu = iommu
        self._ram = iommu.ram
        self._device = device
        self.counts = counts
        self._kept: list[tuple[int, int, Span]] = []  # first address, end, and what the first one means
        self.table = array("Q", bytes(8 + KEPT * _SPAN.size))

    def forget(self) -> None:
        """Ask again for each mapping."""
        self._kept.clear()
        self.table[0] = 0

    def read(self, address: int, size: int) -> bytes:
        """A copy of `size` bytes."""
        physical = self._kept_address(address, size, write=False)
        if physical is None:
            return self.gather((Segment(address, size),))
        self.counts[_READS] += 1
        self.counts[_READ_BYTES] += size
        return self._ram.read(physical, size)

    def write(self, address: int, data: Buffer) -> None:
        """Store bytes."""
        view = memoryview(data).cast("B")
        size = len(view)
        physical = self._kept_address(address, size, write=True)
        if physical is None:
            self.scatter((Segment(address, size),), view)
            return
        self.counts[_WRITES] += 1
        self.counts[_WRITTEN_BYTES] += size
        self._ram.poke(physical, view)

    def gather(self, segments: Iterable[Segment]) -> bytes:
        """A copy of all segments' bytes, one behind the other. How many segments there are is the device's to bound."""
        spans = self._spans(segments, write=False)
        data = b"".join([self._ram.read(physical, size) for physical, size in spans])
        self.counts[_READS] += 1
        self.counts[_READ_BYTES] += len(data)
        return data

    def scatter(self, segments: Iterable[Segment], data: Buffer) -> int:
        """Store bytes to the segments, one after the other, until either ends; returns how many. All are checked."""
        view = memoryview(data).cast("B")
        at = 0
        for physical, size in self._spans(segments, write=True):
            part = view[at : at + size]
            self._ram.poke(physical, part)
            at += len(part)
        self.counts[_WRITES] += 1
        self.counts[_WRITTEN_BYTES] += at
        return at

    def ensure(self, address: int, size: int, *, write: bool) -> None:
        """Raise DmaFault unless all these bytes can be read (or written) now. They may be unmapped at any time."""
        self._spans((Segment(address, size),), write=write)

    def load16(self, address: int) -> int:
        """A number, read in one access of the processor: what the driver stored before it is seen after it."""
        return self._load(address, 2)

    def load32(self, address: int) -> int:
        return self._load(address, 4)

    def load64(self, address: int) -> int:
        return self._load(address, 8)

    def store16(self, address: int, value: int) -> None:
        """Store a number in one access: a driver that sees it sees all that was written before."""
        self._store(address, 2, value)

    def store32(self, address: int, value: int) -> None:
        self._store(address, 4, value)

    def store64(self, address: int, value: int) -> None:
        self._store(address, 8, value)

    def _load(self, address: int, size: int) -> int:
        value = load(self._ram, self._number(address, size, write=False), size)
        self.counts[_READS] += 1
        self.counts[_READ_BYTES] += size
        return value

    def _store(self, address: int, size: int, value: int) -> None:
        store(self._ram, self._number(address, size, write=True), size, value)
        self.counts[_WRITES] += 1
        self.counts[_WRITTEN_BYTES] += size

    def _number(self, address: int, size: int, *, write: bool) -> int:
        """The physical address of an aligned number, which no mapping's end can cut: mappings are whole pages."""
        if address % size:
            raise self._fault(address, FaultKind.MISALIGNED)
        physical = self._kept_address(address, size, write)
        return self._span(address, write=write).physical if physical is None else physical

    def _spans(self, segments: Iterable[Segment], *, write: bool) -> list[tuple[int, int]]:
        """The physical (address, bytes) that the segments are made of, all of them allowed."""
        found = []
        total = 0
        for address, size in segments:
            total += size
            if total > MAX_TRANSFER:
                raise self._fault(address, FaultKind.TOO_LONG)
            physical = self._kept_address(address, size, write)
            if physical is not None:
                found.append((physical, size))
                continue
            while size > 0:
                span = self._span(address, write=write)
                part = min(size, span.size)
                found.append((span.physical, part))
                address += part
                size -= part
        return found

    def _kept_address(self, address: int, size: int, write: bool) -> int | None:
        """Where bytes are that lie in one mapping of which the port knows; None: to be asked for."""
        if 0 < size <= MAX_TRANSFER:
            for first, end, kept in self._kept:
                if first <= address and address + size <= end and (kept.writable if write else kept.readable):
                    return kept.physical + address - first
        return None

    def _span(self, address: int, *, write: bool) -> Span:
        for first, end, kept in self._kept:
            if first <= address < end and (kept.writable if write else kept.readable):
                return Span(kept.physical + address - first, end - address, kept.readable, kept.writable)
        span = self._iommu.translate(self._device, address)
        if span is None or span.size <= 0 or span.physical + span.size > self._ram.size:
            raise self._fault(address, FaultKind.NOT_MAPPED)
        if write and not span.writable:
            raise self._fault(address, FaultKind.WRITE_DENIED)
        if not write and not span.readable:
            raise self._fault(address, FaultKind.READ_DENIED)
        if self._iommu.keeps:
            whole = Span(span.physical - span.before, span.size + span.before, span.readable, span.writable)
            self._kept = [(address - span.before, address + span.size, whole), *self._kept[: KEPT - 1]]
            for number, (first, end, kept) in enumerate(self._kept):
                rights = kept.readable | kept.writable << 1
                _SPAN.pack_into(self.table, 8 + number * _SPAN.size, first, end, kept.physical, rights)
            self.table[0] = len(self._kept)
        return span

    def _fault(self, address: int, kind: FaultKind) -> DmaFault:
        fault = DmaFault(self._device, address, kind)
        self.counts[_FAULTS] += 1
        self._iommu.last_faults[self._device] = fault
        return fault
