"""A store over one that must not be written: what is written stays in memory, and reads show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from libsel4py.littlefs.store import BlockStore

SECTOR_BYTES: Final = 512


class Overlay(BlockStore):
    """littlefs finishes at a mount what a power loss left half done; of a read-only store it does that here."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store
        self._sectors: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        return self._store.size

    @property
    def read_only(self) -> bool:
        return True

    def read(self, offset: int, size: int, /) -> bytes:
        under = self._store.read(offset, size)
        over = [at for at in self._sectors if offset <= at < offset + size]
        if not over:
            return under
        data = bytearray(under)
        for at in over:
            data[at - offset : at - offset + SECTOR_BYTES] = self._sectors[at]
        return bytes(data)

    def write(self, pieces: Sequence[tuple[int, bytes | bytearray | memoryview]], /) -> None:
        for offset, data in pieces:
            for at in range(0, len(data), SECTOR_BYTES):
                self._sectors[offset + at] = bytes(data[at : at + SECTOR_BYTES])

    def flush(self) -> None:
        """Nothing is on its way to the medium."""
