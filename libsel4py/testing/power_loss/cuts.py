"""The states in which a medium can be left, by the log of what was written to it.

Rules. A flush is a barrier: all before it is on the medium. Of what was written since the last one, any part may be
there, in any order: a medium with a cache of its own chooses. A sector of 512 bytes is written whole or not at all.
"""

from __future__ import annotations

import enum
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

SECTOR_BYTES: Final = 512
Piece = tuple[int, bytes]  # offset, what was written there


class Kind(enum.Enum):
    """How a state comes about."""

    CUT = "cut at a write"
    ONE = "one write of those since the last flush"
    TWO = "two of them"
    SEVERAL = "several of them"
    TORN = "some sectors of them"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What was written between two flushes. ``begin``, ``end``: positions in the log, the flush itself at ``end``."""

    begin: int
    end: int
    writes: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """What reached the medium of an epoch, in this order."""

    kind: Kind
    written: tuple[Piece, ...]


def epochs(log: Sequence[Piece | None]) -> Iterator[Epoch]:
    """A log's epochs; None is a flush. Writes after the last flush are the last epoch."""
    begin = 0
    for at, entry in enumerate(log):
        if entry is None:
            yield Epoch(begin, at, tuple(piece for piece in log[begin:at] if piece is not None))
            begin = at + 1
    if begin < len(log):
        yield Epoch(begin, len(log), tuple(piece for piece in log[begin:] if piece is not None))


def cuts(epoch: Epoch, randomly: random.Random, samples: int) -> Iterator[Cut]:
    """Every cut at a write, every sequence of one and of two writes, and ``samples`` each of longer and torn ones.

    None is told twice: sequences that write the same are one, such as the two orders of writes that do not overlap.
    """
    told: set[tuple[Piece, ...]] = set()
    for cut in _all(epoch.writes, randomly, samples):
        same = cut.written if _overlap(cut.written) else tuple(sorted(cut.written))
        if same not in told:
            told.add(same)
            yield cut


def _all(writes: tuple[Piece, ...], randomly: random.Random, samples: int) -> Iterator[Cut]:
    for count in range(len(writes) + 1):
        yield Cut(Kind.CUT, writes[:count])
    for one in writes:
        yield Cut(Kind.ONE, (one,))
    for two in itertools.permutations(writes, 2):
        yield Cut(Kind.TWO, two)
    sectors = [sector for write in writes for sector in _sectors(write)]
    for _ in range(samples):
        if len(writes) > 2:
            yield Cut(Kind.SEVERAL, tuple(randomly.sample(writes, randomly.randint(3, len(writes)))))
        if len(sectors) > 1:
            yield Cut(Kind.TORN, tuple(randomly.sample(sectors, randomly.randint(1, len(sectors) - 1))))


def _sectors(write: Piece) -> Iterator[Piece]:
    offset, data = write
    for at in range(0, len(data), SECTOR_BYTES):
        yield offset + at, data[at : at + SECTOR_BYTES]


def _overlap(writes: Sequence[Piece]) -> bool:
    end = 0
    for offset, data in sorted(writes):
        if offset < end:
            return True
        end = offset + len(data)
    return False
