"""A disk as the file system's store: sectors go through a data space that the disk reaches by DMA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from libsel4py.dataspace import DataSpace
from libsel4py.errors import KernelError, RemoteError, ServerDied, ServiceError, Timeout
from libsel4py.interfaces.block import MOST_EPOCHS, MOST_REQUESTS, SECTOR_BYTES, BadRequest, Block, Request
from libsel4py.littlefs import StoreFailed

BUFFER_BYTES: Final = 1 << 20
Piece = tuple[int, bytes | bytearray | memoryview]
MOST_TRIES: Final = 16  # of one request, each of which a driver has died with
# Whatever a call to another task raises: that one may have ended for good, or have a bug.
_ERRORS: Final = (ServiceError, ServerDied, RemoteError, KernelError, Timeout)
Result = TypeVar("Result")


class DiskStore:
    """A `libsel4py.littlefs.BlockStore` on a `Block` connection.

    Rules. A driver that dies is no failure of the medium: what the device has said to have written it still has, and
    what the driver died with is asked of its successor once more, with the buffer attached anew. Sectors may be written
    twice: one request is under way at a time, and the device finishes what it had taken before what comes later. Of
    a commit all epochs are written again, from the first one. So a sector is written in two epochs of one commit only
    if the later is the last: else the medium could show, for a moment, an epoch without one that was before it. What
    the device itself refuses is a failure, a flush above all: what was written before it is not believed to be there.

    Attributes:
        driver_life: the number of the driver's life at the beginning.
    Raises:
        StoreFailed: the disk fails, or its driver does, or dies again and again.
    """

    def __init__(self, disk: Block) -> None:
        self._disk = disk
        self._space = DataSpace.allocate(BUFFER_BYTES)
        self._mapping = self._space.attach()
        self._shared = self._space.share()
        self._buffer = 0  # the driver's number for it; 0: none yet
        geometry = self._ask(disk.geometry)
        self.size = geometry.sectors * SECTOR_BYTES
        self.driver_life = geometry.life
        self.read_only = geometry.read_only
        self._most = min(geometry.most_sectors * SECTOR_BYTES, BUFFER_BYTES)

    def read(self, offset: int, size: int, /) -> bytes:
        parts = []
        at_once = min(BUFFER_BYTES, MOST_REQUESTS * self._most)
        for at in range(offset, offset + size, at_once):
            count = min(at_once, offset + size - at)
            self._transfer(
                [
                    Request(False, used, (at + used) // SECTOR_BYTES, min(self._most, count - used) // SECTOR_BYTES)
                    for used in range(0, count, self._most)
                ]
            )
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
                part = view[: min(self._most, BUFFER_BYTES - used)]
                self._mapping.write(used, part)
                requests.append(Request(True, used, offset // SECTOR_BYTES, len(part) // SECTOR_BYTES))
                used, offset, view = used + len(part), offset + len(part), view[len(part) :]
        if requests:
            self._transfer(requests)

    def commit(self, epochs: Sequence[Sequence[Piece]], /) -> None:
        """As few calls as it takes: usually one."""
        waiting: list[list[Request]] = []
        written: set[int] = set()
        used = count = 0
        is_last = False
        for whole in epochs:
            pieces = self._cut(whole)
            size = sum(len(data) for _, data in pieces)
            is_full = used + size > BUFFER_BYTES or count + len(pieces) > MOST_REQUESTS or len(waiting) == MOST_EPOCHS
            if is_full or is_last:
                self._commit(waiting)
                waiting, written, used, count = [], set(), 0, 0
            sectors = {at for offset, data in pieces for at in range(offset, offset + len(data), SECTOR_BYTES)}
            is_last = not written.isdisjoint(sectors)
            written |= sectors
            if size > BUFFER_BYTES or len(pieces) > MOST_REQUESTS:
                self.write(pieces)
                self.flush()
                continue
            waiting.append(self._put(pieces, used))
            used, count = used + size, count + len(pieces)
        self._commit(waiting)

    def _cut(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The same, none of them more than the disk takes in one request."""
        return [
            (offset + at, memoryview(data)[at : at + self._most])
            for offset, data in pieces
            for at in range(0, len(data), self._most)
        ]

    def _put(self, pieces: Sequence[Piece], at: int) -> list[Request]:
        requests = []
        for offset, data in pieces:
            self._mapping.write(at, data)
            requests.append(Request(True, at, offset // SECTOR_BYTES, len(data) // SECTOR_BYTES))
            at += len(data)
        return requests

    def _commit(self, epochs: list[list[Request]]) -> None:
        if epochs:
            self._ask(lambda: self._disk.commit(self._attached(), epochs))

    def flush(self) -> None:
        self._ask(self._disk.flush)

    def _transfer(self, requests: list[Request]) -> None:
        self._ask(lambda: self._send(requests))

    def _send(self, requests: list[Request]) -> None:
        buffer = self._attached()
        if len(requests) == 1:
            (one,) = requests
            method = self._disk.write if one.write else self._disk.read
            method(buffer, one.offset, one.sector, one.count)
        else:
            self._disk.transfer(buffer, requests)

    def _attached(self) -> int:
        """The driver's number for the buffer. Raises `_ERRORS`."""
        if not self._buffer:
            self._buffer = self._disk.attach(self._shared)
        return self._buffer

    def _ask(self, act: Callable[[], Result]) -> Result:
        for left in reversed(range(MOST_TRIES)):
            had_buffer = self._buffer
            try:
                return act()
            except _ERRORS as error:
                may_be_new = isinstance(error, ServerDied) or (isinstance(error, BadRequest) and had_buffer)
                if may_be_new:
                    self._detach()
                if not (left and may_be_new):
                    raise StoreFailed(f"the disk: {error}") from error
        raise AssertionError("the last try has raised")

    def _detach(self) -> None:
        """Attach the buffer anew the next time: a driver that was started again knows of none. One that has it still
        would have it twice, and has room for few.
        """
        buffer, self._buffer = self._buffer, 0
        if buffer:
            with suppress(*_ERRORS):
                self._disk.detach(buffer)
