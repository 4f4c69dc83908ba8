"""What a client asks for, checked against its partition and its buffer, and made as few device requests as possible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from libsel4py.interfaces.block import SECTOR_BYTES, Geometry, Request

MOST_SECTORS: Final = 1024  # of one device request: half a MiB


@dataclass(frozen=True, slots=True)
class Extent:
    """A partition: ``sectors`` from ``first`` on, of the whole disk."""

    first: int
    sectors: int
    read_only: bool

    @property
    def geometry(self) -> Geometry:
        """The same as a client is told."""
        return Geometry(SECTOR_BYTES, self.sectors, self.read_only, MOST_SECTORS)

    def overlaps(self, other: Extent) -> bool:
        return self.first < other.first + other.sectors and other.first < self.first + self.sectors


@dataclass(frozen=True, slots=True)
class Piece:
    """One request to the device: ``sector`` of the whole disk, ``offset`` in the buffer, bytes."""

    write: bool
    offset: int
    sector: int
    size: int


def checked(requests: Iterable[Request], extent: Extent, buffer_bytes: int) -> list[Piece]:
    """The device requests of these. Raises BadRequest, ReadOnlyDisk: then none of them is made."""
    geometry = extent.geometry
    pieces: list[Piece] = []
    for each in requests:
        geometry.check(each, buffer_bytes)
        _append(pieces, Piece(each.write, each.offset, extent.first + each.sector, each.count * SECTOR_BYTES))
    return pieces


def _append(pieces: list[Piece], piece: Piece) -> None:
    """Add one, or make the last one longer where they lie side by side, on the disk and in the buffer."""
    if pieces:
        last = pieces[-1]
        is_next = last.sector + last.size // SECTOR_BYTES == piece.sector and last.offset + last.size == piece.offset
        size = last.size + piece.size
        if is_next and last.write == piece.write and size <= MOST_SECTORS * SECTOR_BYTES:
            pieces[-1] = Piece(last.write, last.offset, last.sector, size)
            return
    pieces.append(piece)
