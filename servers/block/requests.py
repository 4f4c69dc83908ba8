"""What a client asks for, checked against its partition and its buffer, and made as few device requests as possible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from libsel4py.interfaces.block import SECTOR_BYTES, BadRequest, ReadOnlyDisk, Request

MOST_SECTORS: Final = 1024  # of one device request: half a MiB


@dataclass(frozen=True, slots=True)
class Extent:
    """A partition: ``sectors`` from ``first`` on, of the whole disk."""

    first: int
    sectors: int
    read_only: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """One request to the device: ``sector`` of the whole disk, ``offset`` in the buffer, bytes."""

    write: bool
    offset: int
    sector: int
    size: int


def checked(requests: Iterable[Request], extent: Extent, buffer_bytes: int) -> list[Piece]:
    """The device requests of these. Raises BadRequest, ReadOnlyDisk: then none of them is made."""
    pieces: list[Piece] = []
    for each in requests:
        _check(each, extent, buffer_bytes)
        _append(pieces, Piece(each.write, each.offset, extent.first + each.sector, each.count * SECTOR_BYTES))
    return [part for piece in pieces for part in _cut(piece)]


def _check(request: Request, extent: Extent, buffer_bytes: int) -> None:
    sector, count, offset = request.sector, request.count, request.offset
    if sector < 0 or count < 1 or sector + count > extent.sectors:
        raise BadRequest(f"sectors {sector} to {sector + count - 1} of a disk with {extent.sectors}")
    if offset < 0 or offset % 4 or offset + count * SECTOR_BYTES > buffer_bytes:
        raise BadRequest(
            f"{count * SECTOR_BYTES} bytes from {offset} on, in a buffer of {buffer_bytes}: offsets are multiples of 4"
        )
    if request.write and extent.read_only:
        raise ReadOnlyDisk("this disk cannot be written")


def _append(pieces: list[Piece], piece: Piece) -> None:
    """Add one, or make the last one longer where they lie side by side, on the disk and in the buffer."""
    if pieces:
        last = pieces[-1]
        is_next = last.sector + last.size // SECTOR_BYTES == piece.sector and last.offset + last.size == piece.offset
        if is_next and last.write == piece.write:
            pieces[-1] = Piece(last.write, last.offset, last.sector, last.size + piece.size)
            return
    pieces.append(piece)


def _cut(piece: Piece) -> Iterable[Piece]:
    """A request as the device takes it: `MOST_SECTORS` at most."""
    step = MOST_SECTORS * SECTOR_BYTES
    for at in range(0, piece.size, step):
        size = min(step, piece.size - at)
        yield Piece(piece.write, piece.offset + at, piece.sector + at // SECTOR_BYTES, size)
