"""A disk in memory, for tests of what stands on `Block`: it serves as a driver does, and keeps what it did.

    disk = RamDisk(sectors=2048)
    with connect(disk) as client: …
    image = after(disk.events[:40], 2048 * 512)   # what it holds if its power fails behind the fortieth event

Rules. Requests are done in order and at once. A `Write` that stands before a `Flush` is on the medium after
it; which of those behind the last `Flush` are is anybody's guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from libsel4py import component
from libsel4py.abi import Rights, VMFault
from libsel4py.dataspace import DataSpace, SharedMemory
from libsel4py.interfaces.block import (
    MOST_BUFFER_BYTES,
    MOST_BUFFERS,
    MOST_EPOCHS,
    MOST_REQUESTS,
    SECTOR_BYTES,
    BadRequest,
    Block,
    DiskError,
    Geometry,
    Request,
)
from libsel4py.mapping import Mapping
from libsel4py.signature import Word

MOST_SECTORS: Final = 1024


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes that went to the disk, at an offset in bytes."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """All that stands before it in the log is on the medium."""


Event = Write | Flush


@component
class RamDisk(Block):
    """A disk of ``sectors``. ``contents`` are its bytes, ``events`` what was done since it was made (or cleared).

    Attributes:
        is_broken: every transfer and flush ends in DiskError, while this is set.
    """

    def __init__(self, sectors: int = 2048, read_only: bool = False) -> None:
        self.contents = bytearray(sectors * SECTOR_BYTES)
        self.events: list[Event] = []
        self.is_broken = False
        self._geometry = Geometry(SECTOR_BYTES, sectors, read_only, MOST_SECTORS)
        self._buffers: dict[tuple[int, int], tuple[DataSpace, Mapping]] = {}
        self._number = 0

    def geometry(self) -> Geometry:
        return self._geometry

    def attach(self, memory: SharedMemory) -> Word:
        badge = self.caller.badge
        if sum(owner == badge for owner, _ in self._buffers) >= MOST_BUFFERS:
            raise BadRequest(f"a client has {MOST_BUFFERS} buffers at most: detach one")
        space = DataSpace.receive(memory, MOST_BUFFER_BYTES, self.task)
        self._number += 1
        self._buffers[badge, self._number] = space, space.attach()
        return Word(self._number)

    def detach(self, buffer: Word) -> None:
        space, _ = self._buffer(buffer)
        del self._buffers[self.caller.badge, buffer]
        space.close()

    def read(self, buffer: Word, offset: Word, sector: Word, count: Word) -> None:
        self.transfer(buffer, [Request(False, offset, sector, count)])

    def write(self, buffer: Word, offset: Word, sector: Word, count: Word) -> None:
        self.transfer(buffer, [Request(True, offset, sector, count)])

    def transfer(self, buffer: Word, requests: list[Request]) -> None:
        if len(requests) > MOST_REQUESTS:
            raise BadRequest(f"{len(requests)} requests in one call; {MOST_REQUESTS} are taken")
        space, mapping = self._buffer(buffer)
        for each in requests:
            self._geometry.check(each, space.size)
        self._ensure_works()
        for each in requests:
            self._do(each, space, mapping)

    def commit(self, buffer: Word, epochs: list[list[Request]]) -> None:
        requests = [each for epoch in epochs for each in epoch]
        if len(epochs) > MOST_EPOCHS or len(requests) > MOST_REQUESTS:
            raise BadRequest(f"{len(requests)} requests in {len(epochs)} epochs are too many")
        if not all(epochs) or not all(each.write for each in requests):
            raise BadRequest("an epoch has writes, and nothing else")
        space, _ = self._buffer(buffer)
        for each in requests:
            self._geometry.check(each, space.size)
        for epoch in epochs:
            self.transfer(buffer, epoch)
            self.flush()

    def flush(self) -> None:
        self._ensure_works()
        self.events.append(Flush())

    def _do(self, request: Request, space: DataSpace, mapping: Mapping) -> None:
        place, size = request.sector * SECTOR_BYTES, request.count * SECTOR_BYTES
        try:
            if request.write:
                data = mapping.read(request.offset, size)
                self.contents[place : place + size] = data
                self.events.append(Write(place, data))
            elif not space.rights & Rights.WRITE:
                raise DiskError("this buffer cannot be written")
            else:
                mapping.write(request.offset, memoryview(self.contents)[place : place + size])
        except VMFault as error:
            raise DiskError("the buffer's memory is gone") from error

    def _buffer(self, number: int) -> tuple[DataSpace, Mapping]:
        found = self._buffers.get((self.caller.badge, number))
        if found is None:
            raise BadRequest(f"there is no buffer {number} of this client")
        return found

    def _ensure_works(self) -> None:
        if self.is_broken:
            raise DiskError("the disk is broken")


def after(events: Iterable[Event], size: int) -> bytes:
    """What a disk of ``size`` bytes, zeroed at first, holds when these writes have reached it, in this order."""
    image = bytearray(size)
    for event in events:
        if isinstance(event, Write):
            image[event.offset : event.offset + len(event.data)] = event.data
    return bytes(image)
