"""Blocks in memory, between littlefs and its store.

Rules. What littlefs programs stays here until it is settled, or until `MOST_DIRTY` bytes are waiting. A sync ends an
epoch: the store is told of the epochs in order, with a flush behind each. So whatever reaches the medium between two
flushes was programmed between two syncs, in any order: which is what littlefs bears, since it syncs data before the
metadata that names them, and each commit by itself. It does not wait for each sync: who has called littlefs calls
`settle` before he believes what it says, and all epochs of the call go to the store at once. Only sectors that were
programmed are written. Erasing a block does nothing, and what it holds goes on to be what littlefs reads: behind each
commit it looks at what comes there, and chooses a mark that tells the commit's end from it. So what it is shown must be
what the medium has, or old commits could come back to life behind a new one. Reading goes ahead where a file is read
all over. What `Heads` has is not read from the store, and is kept as it must be. littlefs' callbacks cannot raise: from
one that does, littlefs goes on as if all were well, with whatever bytes it has. So whatever is raised here, the store's
failures or any other, is kept in ``error``, and nothing is written from then on.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from libsel4py.littlefs.heads import SECTOR_BYTES, Heads, NoHeads
from libsel4py.littlefs.store import BlockStore, StoreFailed

AHEAD_BYTES: Final = 256 << 10
MOST_AREAS: Final = 4  # that are read at once, where reading goes on and on
MOST_DIRTY: Final = 2 << 20
MOST_EPOCHS: Final = 8
RECENT: Final = 12
ERR_IO: Final = -5

Piece = tuple[int, bytes | bytearray | memoryview]
_log: Final = logging.getLogger(__name__)


class BlockCache:
    """Up to ``most_bytes`` of a store's blocks of ``block_bytes``: littlefs' context, which calls `read` to `sync`.

    Attributes:
        error: what failed first; None while all is well. epochs: what `settle` is to put on the medium. passing: what
        is read is not wanted again, and stays as old as it is.
    """

    def __init__(self, store: BlockStore, block_bytes: int, most_bytes: int, heads: Heads | None = None) -> None:
        self.store = store
        self._heads = heads or NoHeads()
        self.error: StoreFailed | None = None
        self._no_memory = StoreFailed("MemoryError: this task's memory is used up")
        self._zeroes = bytes(block_bytes)
        self.passing = False
        self._block_bytes = block_bytes
        self._count = store.size // block_bytes
        self._ahead = max(1, AHEAD_BYTES // block_bytes)
        self._run = self._ahead.bit_length()  # one look-up misses fewer blocks of one area
        self._most = max(2 * self._ahead, most_bytes // block_bytes)
        self._most_dirty = max(1, min(MOST_DIRTY // block_bytes, self._most // 2))
        self._blocks: OrderedDict[int, bytearray] = OrderedDict()
        self.epochs: list[list[Piece]] = []
        self._is_written_out = False  # something of the epoch, which no flush has followed
        self._dirty: dict[int, tuple[int, int]] = {}  # of each block the bytes that are to be written, whole sectors
        self._missed: deque[int] = deque(maxlen=RECENT)  # areas of the blocks that were missing last
        # The areas below and above what was read whole then, and how many areas that was; None: it was a block.
        self._awaited: deque[tuple[int, int, int] | None] = deque(maxlen=RECENT)
        self._most_areas = max(1, min(MOST_AREAS, self._most // (4 * self._ahead)))

    # --- what littlefs calls -------------------------------------------------------------------------------

    def read(self, cfg: object, block: int, off: int, size: int) -> bytearray | bytes:
        """At least ``size`` bytes. Never fails: bytes that cannot be had are zero, and `error` is set."""
        try:
            return self._read(block, off, size)
        except Exception as error:
            self._fail(error)
            return self._zeroes

    def _read(self, block: int, off: int, size: int) -> bytearray | bytes:
        found = self._blocks.get(block)
        if found is not None:
            if not self.passing:
                self._blocks.move_to_end(block)
            return found[off : off + size]
        if off + size <= SECTOR_BYTES:
            head = self._heads.get(block)
            if head is not None:
                return head[off : off + size]
        return self._load(block)[off : off + size]

    def prog(self, cfg: object, block: int, off: int, data: bytes) -> int:
        if self.error is not None:
            return ERR_IO
        try:
            if len(data) == self._block_bytes and block not in self._blocks:
                self._make_room(1)
                self._blocks[block] = bytearray(data)
            else:
                self._block(block)[off : off + len(data)] = data
            self._heads.forget(block)
            first, end = off & -SECTOR_BYTES, -(-(off + len(data)) // SECTOR_BYTES) * SECTOR_BYTES
            known = self._dirty.get(block)
            self._dirty[block] = (first, end) if known is None else (min(first, known[0]), max(end, known[1]))
            if len(self._dirty) > self._most_dirty:
                self._write_out()
        except Exception as error:
            self._fail(error)
            return ERR_IO
        return 0

    def erase(self, cfg: object, block: int) -> int:
        if self.error is not None:
            return ERR_IO
        return 0

    def sync(self, cfg: object) -> int:
        if self.error is not None:
            return ERR_IO
        if self._dirty:
            self.epochs.append([(offset, bytes(data)) for offset, data in self._pieces()])
            self._dirty.clear()
            if len(self.epochs) >= MOST_EPOCHS:
                self.settle()
        elif self._is_written_out:
            self._flush()
        return 0 if self.error is None else ERR_IO

    def settle(self) -> None:
        """Put on the medium what was synced; `error` says that it failed."""
        if self.error is None:
            try:
                self._commit()
            except Exception as error:
                self._fail(error)

    def _flush(self) -> None:
        """All that an epoch had was written already: nothing that comes later may be on the medium before it."""
        try:
            self._commit()
            self._heads.flushes()
            self.store.flush()
            self._flushed()
        except Exception as error:
            self._fail(error)

    # --- inside --------------------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        if isinstance(error, MemoryError):
            self.error = self.error or self._no_memory  # which is there already
        if not isinstance(error, StoreFailed):
            with suppress(MemoryError):
                _log.error("the store, or what is done with it, has raised", exc_info=error)
        if self.error is None:
            self.error = error if isinstance(error, StoreFailed) else StoreFailed(f"{type(error).__name__}: {error}")
        self._heads.clear()

    def _block(self, block: int) -> bytearray:
        found = self._blocks.get(block)
        if found is None:
            return self._load(block)
        self._blocks.move_to_end(block)
        return found

    def _load(self, block: int) -> bytearray:
        """Bring a block in, with what is missing of its area where the area is read all over.

        littlefs finds a file's blocks by pointers in later ones, halving the way, so that a file that is read from its
        beginning is not read block by block, and one look-up reads several blocks that are near to each other. Many
        misses in one area say that it is read all over; then one in an area beside it says that this goes on: upwards
        where a file is read, downwards where littlefs looks which blocks are free, as it does behind each mount. Twice
        as much is read then, and again.
        """
        area = block // self._ahead
        first, end, awaited = block, block + 1, None
        if (areas := self._areas(area)) is not None:
            first, end = areas.start * self._ahead, min(areas.stop * self._ahead, self._count)
            awaited = areas.start - 1, areas.stop, len(areas)
        self._missed.append(area)
        self._awaited.append(awaited)
        self._commit()  # a block may have been dropped since
        missing = [each for each in range(first, end) if each not in self._blocks]
        first, size = missing[0], self._block_bytes
        data = memoryview(self.store.read(first * size, (missing[-1] + 1 - first) * size))
        self._make_room(len(missing))
        for each in missing:
            self._blocks[each] = bytearray(data[(each - first) * size : (each - first + 1) * size])
            self._heads.put(each, data[(each - first) * size :][:SECTOR_BYTES])
        return self._blocks[block]

    def _areas(self, area: int) -> range | None:
        """Those that are to be read whole, of a miss in this one; None: the block alone."""
        for known in self._awaited:
            if known is not None and area in known[:2]:
                count = min(2 * known[2], self._most_areas)
                return range(max(0, area + 1 - count), area + 1) if area == known[0] else range(area, area + count)
        return range(area, area + 1) if self._missed.count(area) >= self._run else None

    def _make_room(self, count: int) -> None:
        while len(self._blocks) + count > self._most and self._blocks:
            oldest = next(iter(self._blocks))
            if oldest in self._dirty:
                self._write_out()
            del self._blocks[oldest]

    def _commit(self) -> None:
        if self.epochs:
            epochs, self.epochs = self.epochs, []
            if self._is_written_out:
                self._heads.flushes()  # what is written out is among them
            else:
                self._heads.writes()
            self.store.commit(epochs)
            self._flushed()
            self._are_kept({offset // self._block_bytes for pieces in epochs for offset, _ in pieces})

    def _flushed(self) -> None:
        self._is_written_out = False
        self._heads.flushed()

    def _write_out(self) -> None:
        self._commit()
        self._heads.writes()
        self._is_written_out = True
        self.store.write(self._pieces())
        written = list(self._dirty)
        self._dirty.clear()
        self._are_kept(written)

    def _are_kept(self, blocks: Iterable[int]) -> None:
        """The medium has these blocks as they are here, but for what was changed since."""
        for block in blocks:
            data = self._blocks.get(block)
            if data is not None and block not in self._dirty:
                self._heads.put(block, memoryview(data)[:SECTOR_BYTES])

    def _pieces(self) -> list[Piece]:
        size = self._block_bytes
        return [
            (block * size + first, memoryview(self._blocks[block])[first:end])
            for block, (first, end) in sorted(self._dirty.items())
        ]
