"""Blocks in memory, between littlefs and its store.

Rules. What littlefs programs stays here until its next sync, or until `MOST_DIRTY` bytes are waiting; a sync writes all
of it and flushes the store. So whatever reaches the medium between two flushes was programmed between two syncs, in any
order: which is what littlefs bears, since it syncs data before the metadata that names them, and each commit by itself.
Only sectors that were programmed are written. Erasing a block does nothing, and what it holds goes on to be what
littlefs reads: behind each commit it looks at what comes there, and chooses a mark that tells the commit's end from it.
So what it is shown must be what the medium has, or old commits could come back to life behind a new one.
Reading goes ahead where blocks are read one after the other. littlefs' callbacks cannot raise: what fails is kept in
``error``, and nothing is written from then on.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from libsel4py.littlefs.store import BlockStore, StoreFailed

SECTOR_BYTES: Final = 512
AHEAD_BYTES: Final = 256 << 10
MOST_DIRTY: Final = 2 << 20
ERR_IO: Final = -5


class BlockCache:
    """Up to ``most_bytes`` of a store's blocks of ``block_bytes``: littlefs' context, which calls `read` to `sync`.

    Attributes:
        error: what failed first; None while all is well.
    """

    def __init__(self, store: BlockStore, block_bytes: int, most_bytes: int) -> None:
        self.store = store
        self.error: StoreFailed | None = None
        self._block_bytes = block_bytes
        self._count = store.size // block_bytes
        self._ahead = max(1, AHEAD_BYTES // block_bytes)
        self._most = max(2 * self._ahead, most_bytes // block_bytes)
        self._most_dirty = max(1, min(MOST_DIRTY // block_bytes, self._most // 2))
        self._blocks: OrderedDict[int, bytearray] = OrderedDict()
        self._dirty: dict[int, tuple[int, int]] = {}  # of each block the bytes that are to be written, whole sectors
        self._last = -2  # block that was missing last

    # --- what littlefs calls -------------------------------------------------------------------------------

    def read(self, cfg: object, block: int, off: int, size: int) -> bytearray:
        """Never fails: bytes that cannot be had are zero, and `error` is set."""
        try:
            return self._block(block)[off : off + size]
        except StoreFailed as error:
            self.error = self.error or error
            return bytearray(size)

    def prog(self, cfg: object, block: int, off: int, data: bytes) -> int:
        if self.error is not None:
            return ERR_IO
        try:
            if len(data) == self._block_bytes and block not in self._blocks:
                self._make_room(1)
                self._blocks[block] = bytearray(data)
            else:
                self._block(block)[off : off + len(data)] = data
            first, end = off & -SECTOR_BYTES, -(-(off + len(data)) // SECTOR_BYTES) * SECTOR_BYTES
            known = self._dirty.get(block)
            self._dirty[block] = (first, end) if known is None else (min(first, known[0]), max(end, known[1]))
            if len(self._dirty) > self._most_dirty:
                self._write_out()
        except StoreFailed as error:
            self.error = error
            return ERR_IO
        return 0

    def erase(self, cfg: object, block: int) -> int:
        if self.error is not None:
            return ERR_IO
        return 0

    def sync(self, cfg: object) -> int:
        if self.error is not None:
            return ERR_IO
        try:
            if self._dirty:
                self._write_out()
                self.store.flush()
        except StoreFailed as error:
            self.error = error
            return ERR_IO
        return 0

    # --- inside --------------------------------------------------------------------------------------------

    def _block(self, block: int) -> bytearray:
        found = self._blocks.get(block)
        if found is None:
            return self._load(block)
        return found

    def _load(self, block: int) -> bytearray:
        """Bring a block in, and those behind it where the one before it was the last to be missing, or is here."""
        count = 1
        if block == self._last + 1 or block - 1 in self._blocks:
            most = min(self._ahead, self._count - block)
            while count < most and block + count not in self._blocks:
                count += 1
        size = self._block_bytes
        data = memoryview(self.store.read(block * size, count * size))
        self._make_room(count)
        for at in range(count):
            self._blocks[block + at] = bytearray(data[at * size : (at + 1) * size])
        self._last = block + count - 1
        return self._blocks[block]

    def _make_room(self, count: int) -> None:
        while len(self._blocks) + count > self._most and self._blocks:
            oldest = next(iter(self._blocks))
            if oldest in self._dirty:
                self._write_out()
            del self._blocks[oldest]

    def _write_out(self) -> None:
        pieces: list[tuple[int, memoryview]] = []
        for block, (first, end) in sorted(self._dirty.items()):
            pieces.append((block * self._block_bytes + first, memoryview(self._blocks[block])[first:end]))
        self.store.write(pieces)
        self._dirty.clear()
