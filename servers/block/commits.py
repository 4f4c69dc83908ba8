"""A commit as a device has it that knows COMMIT: one request of writes and flushes, its steps, done in order.

The device stops at the first step that fails, and says how many have ended. Should its kernel die, the next one may
begin with the first step again. What that would do to a sector which a later epoch has written is why `together` lets
a commit end where a sector is written again: what is on the medium then is what an unfinished last epoch may leave.
Source: `docs/manual/virtio_block.md`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libsel4py.interfaces.block import MOST_EPOCHS, MOST_REQUESTS, SECTOR_BYTES
from libsel4py.virtio import Segment
from servers.block.requests import MOST_SECTORS, Piece

COMMIT_FEATURE: Final = 1 << 23
COMMIT: Final = 1 << 16
MOST_BYTES: Final = MOST_SECTORS * SECTOR_BYTES  # of a commit's writes: the device moves twice as much at once
HEADER: Final = struct.Struct("<IIQ")
STEP: Final = struct.Struct("<QQ")  # sector and sectors; a flush has none
ENDED: Final = struct.Struct("<IB")  # how many steps, and the status
TABLE_BYTES: Final = HEADER.size + STEP.size * (MOST_REQUESTS + MOST_EPOCHS)
COMMIT_BYTES: Final = TABLE_BYTES + 8  # of the driver's memory: the table, and behind it `ENDED`


@dataclass(slots=True, eq=False)
class Commit:
    """Epochs that the device has as one request, from a buffer at ``address``. ``ended``: steps of it, at its end."""

    epochs: Sequence[Sequence[Piece]]
    address: int
    ended: int = 0

    @property
    def flushes(self) -> int:
        return len(self.epochs)

    @property
    def segments(self) -> list[Segment]:
        """Where the writes' bytes are."""
        return [Segment(self.address + piece.offset, piece.size) for epoch in self.epochs for piece in epoch]

    def table(self) -> bytes:
        """Header and steps."""
        steps = []
        for epoch in self.epochs:
            steps += [STEP.pack(piece.sector, piece.size // SECTOR_BYTES) for piece in epoch]
            steps.append(STEP.pack(0, 0))
        return HEADER.pack(COMMIT, len(steps), 0) + b"".join(steps)

    @property
    def epochs_ended(self) -> int:
        """How many epochs have ended with their flush, of a commit that has failed: less than all, whatever it says."""
        left = self.ended
        for number, epoch in enumerate(self.epochs[:-1]):
            left -= len(epoch) + 1
            if left < 0:
                return number
        return len(self.epochs) - 1

    @property
    def failed_in_flush(self) -> bool:
        """Whether it was a flush, or may have been, that has failed."""
        left = self.ended
        for epoch in self.epochs:
            if left <= len(epoch):
                return left == len(epoch)
            left -= len(epoch) + 1
        return True


def together(epochs: Sequence[Sequence[Piece]]) -> int:
    """How many of these, from the first on, may go as one commit; 0: the first is too large."""
    size = 0
    written: list[Piece] = []
    for number, epoch in enumerate(epochs):
        size += sum([piece.size for piece in epoch])
        if size > MOST_BYTES:
            return number
        if len(epochs) > 2 and any(_overlap(one, other) for one in epoch for other in written):
            return number + 1
        written += epoch
    return len(epochs)


def _overlap(one: Piece, other: Piece) -> bool:
    return (
        one.sector < other.sector + other.size // SECTOR_BYTES and other.sector < one.sector + one.size // SECTOR_BYTES
    )
