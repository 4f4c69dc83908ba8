"""A disk as the file system's store: sectors go through a data space that the disk reaches by DMA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from libsel4py.dataspace import DataSpace
from libsel4py.errors import ServerDied
from libsel4py.interfaces.block import (
    MOST_EPOCHS,
    MOST_REQUESTS,
    SECTOR_BYTES,
    BadRequest,
    Block,
    DiskError,
    ReadOnlyDisk,
    Request,
)
from libsel4py.littlefs import StoreFailed

BUFFER_BYTES: Final = 1 << 20
Piece = tuple[int, bytes | bytearray | memoryview]
_ERRORS: Final = (BadRequest, DiskError, ReadOnlyDisk, ServerDied)


class DiskStore:
    """A `libsel4py.littlefs.BlockStore` on a `Block` connection.

    Rules. What was written and not flushed when the driver died may be lost, so that is a failure of the store, as any
    is: the file system mounts anew. The buffer is attached to the driver's successor with the first request after that.

    Raises:
        StoreFailed: the disk does not answer.
    """

    def __init__(self, disk: Block) -> None:
        self._disk = disk
        self._space = DataSpace.allocate(BUFFER_BYTES)
        self._mapping = self._space.attach()
        self._shared = self._space.share()
        self._buffer = 0  # the driver's number for it; 0: none yet
        try:
            geometry = disk.geometry()
        except _ERRORS as error:
            raise StoreFailed(f"the disk: {error}") from error
        self.size = geometry.sectors * SECTOR_BYTES
        self.read_only = geometry.read_only
        self._most = min(geometry.most_sectors * SECTOR_BYTES, BUFFER_BYTES)

    def read(self, offset: int, size: int, /) -> bytes:
        parts = []
        for at in range(offset, offset + size, BUFFER_BYTES):
            count = min(BUFFER_BYTES, offset + size - at)
            self._transfer([Request(False, 0, at // SECTOR_BYTES, count // SECTOR_BYTES)])
            parts.append(self._mapping.read(0, count))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, pieces: Sequence[Piece], /) -> None:
        requests: list[Request] = []
        used = 0
        for offset, data in pieces:
            view = memoryview(data)
            while view:
                if used == BUFFER_BYTES or len(requests) == MOST_REQUESTS:
                    self._transfer(requests)
                    requests, used = [], 0
                part = view[: BUFFER_BYTES - used]
                self._mapping.write(used, part)
                requests.append(Request(True, used, offset // SECTOR_BYTES, len(part) // SECTOR_BYTES))
                used, offset, view = used + len(part), offset + len(part), view[len(part) :]
        if requests:
            self._transfer(requests)

    def commit(self, epochs: Sequence[Sequence[Piece]], /) -> None:
        """As few calls as it takes: usually one."""
        waiting: list[list[Request]] = []
        used = count = 0
        for pieces in epochs:
            size = sum(len(data) for _, data in pieces)
            if used + size > BUFFER_BYTES or count + len(pieces) > MOST_REQUESTS or len(waiting) == MOST_EPOCHS:
                self._commit(waiting)
                waiting, used, count = [], 0, 0
            if size > BUFFER_BYTES or len(pieces) > MOST_REQUESTS:
                self.write(pieces)
                self.flush()
                continue
            waiting.append(self._put(pieces, used))
            used, count = used + size, count + len(pieces)
        self._commit(waiting)

    def _put(self, pieces: Sequence[Piece], at: int) -> list[Request]:
        requests = []
        for offset, data in pieces:
            self._mapping.write(at, data)
            requests.append(Request(True, at, offset // SECTOR_BYTES, len(data) // SECTOR_BYTES))
            at += len(data)
        return requests

    def _commit(self, epochs: list[list[Request]]) -> None:
        if epochs:
            try:
                self._disk.commit(self._attached(), epochs)
            except _ERRORS as error:
                raise self._failure(error) from error

    def flush(self) -> None:
        try:
            self._disk.flush()
        except _ERRORS as error:
            raise self._failure(error) from error

    def _transfer(self, requests: list[Request]) -> None:
        try:
            buffer = self._attached()
            if len(requests) == 1:
                (one,) = requests
                method = self._disk.write if one.write else self._disk.read
                method(buffer, one.offset, one.sector, one.count)
            else:
                self._disk.transfer(buffer, requests)
        except _ERRORS as error:
            raise self._failure(error) from error

    def _attached(self) -> int:
        """The driver's number for the buffer. Raises `_ERRORS`."""
        if not self._buffer:
            self._buffer = self._disk.attach(self._shared)
        return self._buffer

    def _failure(self, error: Exception) -> StoreFailed:
        self._buffer = 0  # a driver that was started again knows of none
        return StoreFailed(f"the disk: {error}")
