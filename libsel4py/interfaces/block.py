# mypy: disable-error-code="empty-body"
"""A disk: sectors that are read and written from a client's own memory.

    disk.attach(space.share())                         # DMA goes to and from the client's data space, no copy between
    disk.read(buffer, 0, sector=8, count=16)           # 16 sectors to the buffer's first bytes
    disk.transfer(buffer, [Request(True, 0, 8, 16), …]) # many at a time
    disk.flush()

Rules. Requests that run at the same time have no order. What was written is on the medium when a `flush` returns that
was called after it; until then a loss of power keeps any part of it (but no part of a sector). A client sees its own
partition alone, from sector 0 on.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libsel4py.dataspace import SharedMemory
from libsel4py.errors import ServiceError
from libsel4py.interface import Interface, idempotent
from libsel4py.signature import Word

SECTOR_BYTES: Final = 512
MOST_BUFFERS: Final = 8  # of one client
MOST_BUFFER_FRAMES: Final = 64  # of one client's buffers together
MOST_BUFFER_BYTES: Final = 16 << 20
MOST_REQUESTS: Final = 32  # of one `transfer`
MOST_EPOCHS: Final = 8  # of one `commit`
MOST_CALLS: Final = 8  # of one client at a time
OFFSET_UNIT: Final = 4  # bytes; offsets in buffers are multiples of it


class DiskError(ServiceError):
    """The device failed, or the buffer's memory is gone. What was to be written may be written in part."""


class BadRequest(ServiceError):
    """Outside of the partition, or of the buffer, or of no buffer; or more at a time than a client may ask for."""


class ReadOnlyDisk(ServiceError):
    """Nothing can be written to this disk, or by this client."""


class Geometry(msgspec.Struct, frozen=True, array_like=True):
    """What a client may use.

    Attributes:
        sectors: of its partition, `sector_bytes` (512) each. most_sectors: of one request. life: a number by chance
        below 2**64. While this client (its badge) is told the same, nobody else has written to what it has, and the
        driver has not ended. 0: that is not known.
    """

    sector_bytes: int
    sectors: int
    read_only: bool
    most_sectors: int
    life: int = 0

    def check(self, request: Request, buffer_bytes: int) -> None:
        """What a disk refuses before it begins. Raises BadRequest, ReadOnlyDisk."""
        sector, count, offset = request.sector, request.count, request.offset
        size = count * self.sector_bytes
        if not 1 <= count <= self.most_sectors:
            raise BadRequest(f"{count} sectors in one request: 1 to {self.most_sectors} are taken")
        if not 0 <= sector <= self.sectors - count:
            raise BadRequest(f"sectors {sector} to {sector + count - 1} of a disk with {self.sectors}")
        if offset % OFFSET_UNIT or not 0 <= offset <= buffer_bytes - size:
            raise BadRequest(
                f"{size} bytes from {offset} on, in a buffer of {buffer_bytes}: offsets are multiples of {OFFSET_UNIT}"
            )
        if request.write and self.read_only:
            raise ReadOnlyDisk("this disk cannot be written")


class Request(msgspec.Struct, frozen=True, array_like=True):
    """A part of a `transfer`: ``count`` sectors from ``sector`` on, and ``offset``, bytes, in the buffer."""

    write: bool
    offset: int
    sector: int
    count: int


class Block(Interface):
    """One disk, or a partition of it."""

    @idempotent
    def geometry(self) -> Geometry:
        """Size, and what a request may be."""

    def attach(self, memory: SharedMemory) -> Word:
        """Let the disk reach a data space; returns the buffer's number.

        Raises:
            NotADataSpace: it is none, or larger than `MOST_BUFFER_BYTES`. BadRequest: the client has `MOST_BUFFERS`,
            or `MOST_BUFFER_FRAMES`. DiskError: the driver has no room for it.
        """

    def detach(self, buffer: Word) -> None:
        """The disk reaches the buffer no more when this returns; requests that use it end in DiskError.

        Raises:
            BadRequest: there is none of this number.
        """

    def read(self, buffer: Word, offset: Word, sector: Word, count: Word) -> None:
        """Sectors to a buffer, ``offset`` bytes from its start.

        Raises:
            BadRequest: see `Geometry.check`; or there are `MOST_CALLS` of this client under way. DiskError.
        """

    def write(self, buffer: Word, offset: Word, sector: Word, count: Word) -> None:
        """Sectors from a buffer. Raises BadRequest, ReadOnlyDisk, DiskError."""

    def transfer(self, buffer: Word, requests: list[Request]) -> None:
        """Up to `MOST_REQUESTS` at a time; returns when all are done. Raises as `read` and `write`.

        What is refused (BadRequest, ReadOnlyDisk) is refused whole: nothing is read or written then. Requests that lie
        side by side are made as one.
        """

    def commit(self, buffer: Word, epochs: list[list[Request]]) -> None:
        """Write each epoch's requests and flush, before the next epoch begins; all is on the medium at the end.

        Raises as `transfer`; BadRequest also for more than `MOST_EPOCHS`, for one without requests, and for a request
        that is no write. After a DiskError none of the epochs behind the one that failed was begun.
        """

    @idempotent
    def flush(self) -> None:
        """All that was written by calls that have returned is on the medium when this returns. Raises DiskError."""
