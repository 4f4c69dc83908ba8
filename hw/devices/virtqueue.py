"""A split virtqueue, the device's side: takes descriptor chains, gives them back used.

Source: VIRTIO 1.2, section 2.7. All of it lies in the driver's memory, and is reached by DMA.

Rules. The available ring and the descriptor table are copied once for each `take`, and the copies are checked; what the
driver writes later changes nothing. Work of a turn is bounded by ``most`` chains, and `SEGMENTS_A_TURN` of all of them.
What makes no sense ends in `VirtioDevice.fail`, and the queue gives nothing more.

The queue's record in RAM says what was done, and the driver sees it after the commit alone: `take` and `give_back` run
inside a transaction, `publish` behind it. So a kernel that dies in between is followed by one that finds the record,
and calls `recover`: what was given back is published, and heads that were taken and not given back, each of which has
its mark in the record, are taken once more before any other, in the order in which the available ring still has them.
A device's requests must bear to be done twice, as long as nobody was told.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from hw.devices.bus import IoBus
from hw.devices.virtio import VirtioDevice
from hw.devices.virtio_registers import MOST_ENTRIES, Cause, Feature, QueueRecord
from hw.iommu import DmaFault, Segment

NEXT, WRITE, INDIRECT = 1, 2, 4  # flags of a descriptor
NO_INTERRUPT: Final = 1  # flag of the available ring
NO_NOTIFY: Final = 1  # flag of the used ring
DESCRIPTOR: Final = struct.Struct("<QIHH")  # address, length, flags, next
USED: Final = struct.Struct("<II")  # head, bytes written
MOST_SEGMENTS: Final = MOST_ENTRIES
SEGMENTS_A_TURN: Final = MOST_SEGMENTS  # of all chains: each may lie in a mapping of its own, which is looked up
_INDEX: Final = (1 << 16) - 1
_WORDS: Final = MOST_ENTRIES // 64
_Found = TypeVar("_Found")


class Chain(NamedTuple):
    """A request: what the device reads, and what it writes, in the IOSpace. ``head`` names it."""

    head: int
    readable: tuple[Segment, ...]
    writable: tuple[Segment, ...]

    @property
    def segments(self) -> int:
        """How many it has."""
        return len(self.readable) + len(self.writable)


class _BadChain(Exception):
    """The descriptors are no chain."""


class DeviceQueue:
    """Queue ``index`` of a device."""

    def __init__(self, device: VirtioDevice, index: int) -> None:
        self._device = device
        self._ram = device.ram
        self._dma = device.dma
        self._queue: QueueRecord = device.queues[index]
        self._marks = self._queue.address + QueueRecord.in_flight
        self._again: deque[int] = deque()  # heads that a kernel that died had taken

    @property
    def is_behind(self) -> bool:
        """Whether `take` is to give what a kernel that died had taken."""
        return bool(self._again)

    def take(self, most: int) -> list[Chain]:
        """Up to ``most`` chains that the driver has made available, in order; fewer where they are long."""
        return self._guarded(lambda: self._take(most))

    def give_back(self, used: Iterable[tuple[int, int]]) -> None:
        """Chains are done: (head, bytes written to it) each. The driver is to be interrupted, if it wants that."""
        queue = self._queue
        if not self._device.is_live or not queue.ready:
            return
        done = list(used)
        if not done:
            return
        index, size = queue.used, queue.size
        try:
            self._unmark(head for head, _ in done)
            entries = b"".join([USED.pack(head, written) for head, written in done])
            first = index & size - 1
            fitting = USED.size * (size - first)
            self._dma.write(queue.device + 4 + USED.size * first, entries[:fitting])
            if len(entries) > fitting:
                self._dma.write(queue.device + 4, entries[fitting:])
            queue.used = index + len(done) & _INDEX
            if self._wants_interrupt():
                self._device.interrupt_used()
        except DmaFault:
            self._device.fail(Cause.DMA_FAULT)

    def publish(self, bus: IoBus) -> None:
        """Show the driver what was given back, after the commit. One that has asked for interrupts since gets one."""
        queue, device = self._queue, self._device
        if not device.is_live or not queue.ready:
            return
        try:
            self._dma.store16(queue.device + 2, queue.used)
            if not device.has_used_interrupt and self._wants_interrupt():
                bus.change(device, device.interrupt_used)
        except DmaFault:
            bus.change(device, lambda: device.fail(Cause.DMA_FAULT))

    def recover(self, bus: IoBus) -> None:
        """Go on where a kernel that died has left this queue: `take` gives first what is to be done once more."""
        bus.change(self._device, lambda: self._again.extend(self._guarded(self._recover)))
        self.publish(bus)

    def want_kicks(self, bus: IoBus, wanted: bool) -> bool:
        """Say whether the driver is to notify the device of what it adds; whether there is something now.

        Who wants kicks and is told False hears of the next chain that is added. A driver may notify all the same.
        """
        queue, device = self._queue, self._device
        if not device.is_live or not queue.ready:
            return False
        try:
            self._dma.store16(queue.device, 0 if wanted else NO_NOTIFY)
        except DmaFault:
            bus.change(device, lambda: device.fail(Cause.DMA_FAULT))
            return False
        return self.has_more()

    def has_more(self) -> bool:
        """Whether `take` would find something, be it a fault. Needs no transaction."""
        queue = self._queue
        if not self._device.is_live or not queue.ready:
            return False
        try:
            return self.is_behind or self._dma.load16(queue.driver + 2) != queue.taken
        except DmaFault:
            return True

    # --- inside --------------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], list[_Found]]) -> list[_Found]:
        if not self._device.is_live or not self._queue.ready:
            return []
        try:
            return work()
        except DmaFault:
            self._device.fail(Cause.DMA_FAULT)
        except _BadChain:
            self._device.fail(Cause.BAD_CHAIN)
        return []

    def _recover(self) -> list[int]:
        queue = self._queue
        # The interrupt may have come before what it is for, or is still owed to a driver that has asked for it since.
        if self._dma.load16(queue.device + 2) != queue.used or self._wants_interrupt():
            self._device.interrupt_used()
        heads = {head for head in range(MOST_ENTRIES) if self._is_marked(head)}
        return self._in_order(heads) if heads else []

    def _in_order(self, heads: set[int]) -> list[int]:
        """These as the driver made them available. (It may have changed that; then any order will do.)"""
        queue = self._queue
        ring = memoryview(self._dma.read(queue.driver + 4, 2 * queue.size)).cast("H")
        newest: dict[int, None] = {}
        for back in range(1, queue.size + 1):
            newest.setdefault(ring[queue.taken - back & queue.size - 1])
        known = [head for head in newest if head in heads]
        return [*sorted(heads.difference(known)), *reversed(known)]

    def _wants_interrupt(self) -> bool:
        return not self._dma.load16(self._queue.driver) & NO_INTERRUPT

    def _take(self, most: int) -> list[Chain]:
        queue = self._queue
        if self._again:
            self._again = deque(head for head in self._again if self._is_marked(head))  # a reset has forgotten them
        if self._again:
            table = memoryview(self._dma.read(queue.descriptors, 16 * queue.size))
            chains = self._chains(list(self._again)[:most], table)
            for _ in chains:
                self._again.popleft()
            return chains
        size, taken = queue.size, queue.taken
        count = self._dma.load16(queue.driver + 2) - taken & _INDEX
        if count > size:
            self._device.fail(Cause.BAD_INDEX)
            return []
        count = min(count, most)
        if not count:
            return []
        copied = self._dma.gather((Segment(queue.driver + 4, 2 * size), Segment(queue.descriptors, 16 * size)))
        ring = memoryview(copied)[: 2 * size].cast("H")
        chains = self._chains([ring[taken + at & size - 1] for at in range(count)], memoryview(copied)[2 * size :])
        self._mark([chain.head for chain in chains])
        queue.taken = taken + len(chains) & _INDEX
        return chains

    def _chains(self, heads: Iterable[int], table: memoryview) -> list[Chain]:
        """Those of the first heads, as many as a turn may have."""
        chains: list[Chain] = []
        left = SEGMENTS_A_TURN
        for head in heads:
            chain = self._chain(head, table)
            left -= chain.segments
            if left < 0:
                break
            chains.append(chain)
        return chains

    def _chain(self, head: int, table: memoryview) -> Chain:
        if head >= self._queue.size:
            raise _BadChain
        address, length, flags, _ = DESCRIPTOR.unpack_from(table, 16 * head)
        if not flags & (INDIRECT | NEXT) and length:  # most often: a frame
            alone = (Segment(address, length),)
            return Chain(head, (), alone) if flags & WRITE else Chain(head, alone, ())
        if not flags & INDIRECT:
            return _walk(head, head, table, self._queue.size)
        if not self._device.features & Feature.INDIRECT_DESC or flags & NEXT or length % 16:
            raise _BadChain
        if not 0 < length <= 16 * MOST_SEGMENTS:
            raise _BadChain
        return _walk(head, 0, memoryview(self._dma.read(address, length)), length // 16, nested=True)

    def _is_marked(self, head: int) -> bool:
        return bool(self._ram.word(self._marks + 8 * (head >> 6)) >> (head & 63) & 1)

    def _mark(self, heads: Sequence[int]) -> None:
        """They are taken. Raises _BadChain: one of them is already, or is there twice."""
        words: dict[int, int] = {}
        for head in heads:
            at, bit = head >> 6, 1 << (head & 63)
            word = words[at] if at in words else self._ram.word(self._marks + 8 * at)
            if word & bit:
                raise _BadChain
            words[at] = word | bit
        for at, word in words.items():
            self._ram.set_word(self._marks + 8 * at, word)

    def _unmark(self, heads: Iterable[int]) -> None:
        words: dict[int, int] = {}
        for head in heads:
            at = head >> 6
            word = words[at] if at in words else self._ram.word(self._marks + 8 * at)
            words[at] = word & ~(1 << (head & 63))
        for at, word in words.items():
            self._ram.set_word(self._marks + 8 * at, word)


def _walk(head: int, at: int, table: memoryview, size: int, nested: bool = False) -> Chain:
    """Follow a chain through a copied table. Raises _BadChain."""
    readable: list[Segment] = []
    writable: list[Segment] = []
    for _ in range(min(size, MOST_SEGMENTS)):
        if at >= size:
            break
        address, length, flags, following = DESCRIPTOR.unpack_from(table, 16 * at)
        if (flags & INDIRECT and (nested or at != head)) or not length:
            break
        if flags & WRITE:
            writable.append(Segment(address, length))
        elif writable:
            break
        else:
            readable.append(Segment(address, length))
        if not flags & NEXT:
            return Chain(head, tuple(readable), tuple(writable))
        at = following
    raise _BadChain
