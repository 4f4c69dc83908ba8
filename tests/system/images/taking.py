"""Takes memory that no limit of a process counts: as much as its second argument says, in MiB; then ends with 0."""

from __future__ import annotations

import mmap

PIECE = 16


def main(_: int, mebibytes: int, *__: int) -> int:
    pieces = [mmap.mmap(-1, PIECE << 20) for _ in range(mebibytes // PIECE)]
    return sum(len(piece[:: mmap.PAGESIZE]) for piece in pieces) != (mebibytes << 20) // mmap.PAGESIZE
