"""How often the medium is asked: few large requests for a whole file, no more than needed for pieces of one."""

from __future__ import annotations

import random

import pytest

from libsel4py.littlefs import LittleFsVolume, MemoryStore, format_store
from libsel4py.littlefs.volume import LittleFsFile

PIECE = 65536
PIECES = 200


class CountingStore(MemoryStore):
    """Counts requests and bytes."""

    requests = 0
    bytes_read = 0

    def read(self, offset: int, size: int, /) -> bytes:
        self.requests += 1
        self.bytes_read += size
        return super().read(offset, size)


@pytest.fixture
def opened() -> tuple[CountingStore, LittleFsFile]:
    """A file three times as large as the cache, of which nothing is in that."""
    store = CountingStore(64 << 20)
    format_store(store)
    volume = LittleFsVolume(store)
    file = volume.open("big", create=True, exclusive=True)
    for at in range(PIECES):
        file.write(at * PIECE, bytes([at]) * PIECE)
    volume.close()
    file = LittleFsVolume(store).open("big", create=False, exclusive=False)
    store.requests = store.bytes_read = 0
    return store, file


def test_a_whole_file_is_read_by_large_requests(opened: tuple[CountingStore, LittleFsFile]) -> None:
    store, file = opened
    for at in range(PIECES):
        assert bytes(file.read(at * PIECE, PIECE)) == bytes([at]) * PIECE
    assert store.requests < PIECES * 0.6  # 800 blocks
    assert store.bytes_read < 1.1 * PIECES * PIECE


def test_pieces_at_random_read_nothing_ahead(opened: tuple[CountingStore, LittleFsFile]) -> None:
    store, file = opened
    randomly = random.Random(1)
    for _ in range(1000):
        at = randomly.randrange(PIECES)
        assert bytes(file.read(at * PIECE, 4096)) == bytes([at]) * 4096
    assert store.bytes_read < 1.1 * 16384 * store.requests
