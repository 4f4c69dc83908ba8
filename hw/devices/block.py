"""A disk: virtio's block device. Requests come by one queue, and are carried out by `hw.devices.disk` after the commit.

Source: VIRTIO 1.2, section 5.2. Sectors have 512 bytes. Offered: FLUSH, SEG_MAX, BLK_SIZE, RO for a disk that cannot
be written, and the legacy interface's BARRIER: a request with that bit is begun when all before it have ended, and ends
before any behind it begins, so that a flush can be sent with the writes that it is for. A request is a header of 16
bytes that the device reads, data that it reads or writes, and one byte of status that it writes last; how they are cut
into descriptors is the driver's matter.

And COMMIT, which is ours alone: one request of several writes and flushes, its steps, which are carried out in order up
to the first that fails. The header's second word says how many there are; `STEP` for each of them follows, then the
bytes of all writes. In front of the status the device says how many steps have ended (`ENDED`). They come behind all
writes that were made available before. A device whose kernel died may begin a commit again from its first step: who
writes a sector in two of its epochs does it in the last one and one other.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from hw.devices.virtio import VirtioDevice
from hw.devices.virtio_registers import VirtioRecord
from hw.devices.virtqueue import MOST_SEGMENTS, Chain, DeviceQueue
from hw.interrupts import Trigger
from hw.iommu import MAX_TRANSFER, Buffer, DmaFault, DmaPort, Segment, first_bytes
from hw.ram import Ram, Record, Word

SECTOR_BYTES: Final = 512
HEADER: Final = struct.Struct("<IIQ")  # type, reserved, sector
MOST_DATA: Final = MAX_TRANSFER - HEADER.size
ID_BYTES: Final = 20
BARRIER, SEG_MAX, RO, BLK_SIZE, FLUSH = 1 << 0, 1 << 2, 1 << 5, 1 << 6, 1 << 9  # feature bits
COMMIT: Final = 1 << 23  # the last bit of those that are a device type's own: the standard counts from the first
STEP: Final = struct.Struct("<QQ")  # sector and sectors; a flush has none
ENDED: Final = struct.Struct("<I")
MOST_STEPS: Final = 64
BARRIER_TYPE: Final = 1 << 31  # in a request's type
_CONFIGURATION: Final = struct.Struct(
    "<QIIIIQB3x"
)  # capacity, size_max, seg_max, geometry, blk_size, topology, writeback


class Kind(IntEnum):
    """What a request asks for (its type)."""

    IN = 0
    OUT = 1
    FLUSH = 4
    GET_ID = 8
    COMMIT = 1 << 16


class Outcome(IntEnum):
    """The status byte."""

    OK = 0
    IOERR = 1
    UNSUPP = 2


class BlockRecord(Record):
    """What is this device's own, behind the transport's part of the page."""

    __slots__ = ()

    resets = Word(0)  # what was begun before the last reset is not finished
    flush_lost = Word(8)  # 0, or one has failed behind one reset less than that, and none has ended well since


class Request(NamedTuple):
    """A request, checked: the bytes are on the disk, and the buffers are as long as they say.

    Attributes:
        chain: to be given back. kind: None for one that is refused with ``outcome``. sector: the first. size: of the
        data, in bytes, also where it was looked for in vain. into: where data is written to, and ``status`` where the
        status byte is. resets: the device's count of resets when the request was taken. is_barrier: it stays in its
        place among the others. steps: a commit's, `STEP` each.
    """

    chain: Chain
    kind: Kind | None
    sector: int
    size: int
    into: tuple[Segment, ...]
    status: Segment
    resets: int
    data: Buffer = b""
    outcome: Outcome = Outcome.OK
    is_barrier: bool = False
    steps: Buffer = b""


class Block(VirtioDevice):
    """The device.

    Args:
        sectors: how many the disk has. read_only: it takes no writes.
    """

    DEVICE_ID = 2
    QUEUES = 1

    def __init__(
        self,
        ram: Ram,
        address: int,
        number: int,
        first_port: int,
        irq: int,
        dma: DmaPort,
        sectors: int,
        read_only: bool = False,
        trigger: Trigger = Trigger.LEVEL,
    ) -> None:
        super().__init__(ram, address, number, first_port, irq, dma, trigger)
        self.OFFERED = BARRIER | SEG_MAX | BLK_SIZE | FLUSH | COMMIT | (RO if read_only else 0)
        self.sectors = sectors
        self.read_only = read_only
        self.requests = DeviceQueue(self, 0)
        self.own = BlockRecord(ram, address + VirtioRecord.OWN)

    def configuration(self) -> bytes:
        return _CONFIGURATION.pack(self.sectors, 0, MOST_SEGMENTS - 2, 0, SECTOR_BYTES, 0, 0)

    def report(self) -> dict[str, object]:
        return super().report() | {"sectors": self.sectors, "read_only": self.read_only}

    def was_reset(self) -> None:
        self.own.resets = self.own.resets + 1

    def flush_failed(self, resets: int) -> None:
        """A flush that was begun behind so many resets has failed. Inside a transaction."""
        self.own.flush_lost = resets + 1

    def flush_ended(self, alone: bool) -> Outcome:
        """What is to be said of a flush that has ended well, ``alone`` or in a commit. Inside a transaction.

        IOERR: one before it has failed for a driver that may have told nobody, since it was reset. What the host has
        lost then it says to the first flush alone. A commit speaks of its own writes, which are there.
        """
        own = self.own
        lost, now = own.flush_lost, own.resets + 1
        if lost == now:
            own.flush_lost = 0  # its driver has gone on
        elif lost and alone:
            own.flush_lost = now
            return Outcome.IOERR
        return Outcome.OK

    def read_request(self, chain: Chain) -> Request | None:
        """What a chain asks for, its data copied. None: it is no request at all.

        A request that makes no sense on this disk, or whose data cannot be reached, is one that is answered with IOERR
        or UNSUPP: it is one client's mistake, and the driver's others go on.

        Raises:
            DmaFault: header or status, which are the driver's own, cannot be reached.
        """
        if not chain.writable:
            return None
        last = chain.writable[-1]
        status = Segment(last.address + last.size - 1, 1)
        into = chain.writable[:-1]
        if last.size > 1:
            into += (Segment(last.address, last.size - 1),)
        outgoing = sum([size for _, size in chain.readable]) - HEADER.size
        incoming = sum([size for _, size in into])
        if outgoing < 0:
            return None
        resets = self.own.resets
        self.dma.ensure(status.address, 1, write=True)
        if max(outgoing, incoming) > MOST_DATA:
            return Request(chain, None, 0, 0, into, status, resets, outcome=Outcome.IOERR)
        try:
            copied = self.dma.gather(chain.readable)
        except DmaFault:
            self.dma.ensure(chain.readable[0].address, min(HEADER.size, chain.readable[0].size), write=False)
            return Request(chain, None, 0, outgoing, into, status, resets, outcome=Outcome.IOERR)
        number, count, sector = HEADER.unpack_from(copied)
        is_barrier = bool(number & BARRIER_TYPE and self.features & BARRIER)
        if is_barrier:
            number &= ~BARRIER_TYPE
        try:
            kind = Kind(number)
        except ValueError:
            return Request(chain, None, 0, 0, into, status, resets, outcome=Outcome.UNSUPP)
        if kind is Kind.COMMIT:
            return self._commit(Request(chain, kind, 0, outgoing, into, status, resets), copied, count)
        size = outgoing if kind is Kind.OUT else incoming
        if not self._makes_sense(kind, sector, size):
            return Request(chain, None, sector, size, into, status, resets, outcome=Outcome.IOERR)
        data = memoryview(copied)[HEADER.size :]
        return Request(chain, kind, sector, size, into, status, resets, data, is_barrier=is_barrier)

    def _commit(self, request: Request, copied: bytes, count: int) -> Request:
        """The same with its steps and their data; or one that is refused."""
        if not self.features & COMMIT:
            return request._replace(kind=None, outcome=Outcome.UNSUPP)
        end = HEADER.size + STEP.size * count
        steps, data = memoryview(copied)[HEADER.size : end], memoryview(copied)[end:]
        room = sum([size for _, size in request.into])
        if not 0 < count <= MOST_STEPS or len(steps) < STEP.size * count or room < ENDED.size:
            return request._replace(kind=None, outcome=Outcome.IOERR)
        left = len(data)
        for sector, sectors in STEP.iter_unpack(steps):
            if sectors and (self.read_only or sector + sectors > self.sectors):
                left = -1
                break
            left -= sectors * SECTOR_BYTES
        if left:
            return request._replace(kind=None, outcome=Outcome.IOERR)
        return request._replace(data=data, steps=steps, into=tuple(first_bytes(request.into, ENDED.size)))

    def _makes_sense(self, kind: Kind, sector: int, size: int) -> bool:
        match kind:
            case Kind.FLUSH:
                return True
            case Kind.GET_ID:
                return size >= ID_BYTES
            case _:
                if kind is Kind.OUT and self.read_only:
                    return False
                return size % SECTOR_BYTES == 0 and sector + size // SECTOR_BYTES <= self.sectors
