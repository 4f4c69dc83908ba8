"""Takes memory that no limit of a process counts, as much as its second argument says, in MiB and whole pieces; then
ends with 0, or stays, as its first one says."""

from __future__ import annotations

import mmap
import threading

PIECE = 16
END, STAY = range(2)


def main(then: int, mebibytes: int, *_: int) -> int:
    pieces = [mmap.mmap(-1, PIECE << 20) for _ in range(mebibytes // PIECE)]
    taken = sum(len(piece[:: mmap.PAGESIZE]) for piece in pieces)
    if then == STAY:
        threading.Event().wait()
    return taken != len(pieces) * (PIECE << 20) // mmap.PAGESIZE
