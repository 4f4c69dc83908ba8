"""How often the medium is asked: few large requests for a whole file, no more than needed for pieces of one."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from libsel4py.littlefs import LittleFsVolume, MemoryStore, format_store
from libsel4py.littlefs.cache import BlockCache
from libsel4py.littlefs.heads import NoHeads
from libsel4py.littlefs.open_file import LittleFsFile

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


def test_what_is_free_behind_a_mount_is_found_by_few_requests(opened: tuple[CountingStore, LittleFsFile]) -> None:
    """littlefs goes through all there is, from its end on, before it writes: larger and larger pieces are read."""
    store, file = opened
    file.write(PIECES * PIECE, b"x")
    assert store.requests < 32  # 800 blocks
    assert store.bytes_read < 1.2 * PIECES * PIECE


def test_a_file_that_was_written_over_is_cached_and_not_what_it_was_before() -> None:
    store = CountingStore(64 << 20)
    format_store(store)
    volume = LittleFsVolume(store, 8 << 20)  # twice the file
    file = volume.open("big", create=True, exclusive=True)
    for at in range(64):
        file.write(at * 65536, b"o" * 65536)
    file.sync()
    for _ in range(3):
        for at in range(20):
            file.write(at * 65536, b"n" * 65536)
            if at == 16:
                file.sync()
        file.sync()
        store.requests = 0
        for at in range(64):
            file.read(at * 65536, 65536)
        assert store.requests == 0


class CommittingStore(MemoryStore):
    """Remembers how it was asked to write."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.asked: list[str] = []

    def write(self, pieces: object, /) -> None:
        self.asked.append("write")
        super().write(pieces)  # type: ignore[arg-type]

    def commit(self, epochs: Sequence[Sequence[tuple[int, bytes | bytearray | memoryview]]], /) -> None:
        self.asked.append(f"commit {len(epochs)}")
        for pieces in epochs:
            super().write(pieces)


def test_a_small_file_is_put_on_the_medium_by_one_request() -> None:
    """Its data, and then the name for them: the medium keeps the order, and the file system waits once."""
    store = CommittingStore(16 << 20)
    format_store(store)
    volume = LittleFsVolume(store)
    volume.open("small", create=True, exclusive=True).close()
    store.asked.clear()
    file = volume.open("small", create=False, exclusive=False)
    file.write(0, b"x" * 800)
    assert store.asked == []
    file.sync()
    assert store.asked == ["commit 2"]
    file.close()
    assert store.asked == ["commit 2"]


def test_pieces_at_random_read_nothing_ahead(opened: tuple[CountingStore, LittleFsFile]) -> None:
    store, file = opened
    randomly = random.Random(1)
    for _ in range(1000):
        at = randomly.randrange(PIECES)
        assert bytes(file.read(at * PIECE, 4096)) == bytes([at]) * 4096
    assert store.bytes_read < 1.1 * 16384 * store.requests


@pytest.mark.parametrize("blocks", [16, 17, 33, 40])
def test_what_names_a_file_is_written_behind_a_flush_of_all_that_the_file_has(blocks: int) -> None:
    """However much of it had to be written before its sync, and if it is all of it."""
    store = MemoryStore(16 << 20)
    geometry = format_store(store)
    volume = LittleFsVolume(store, 32 * geometry.block_bytes)  # of which half may wait to be written
    file = volume.open("new", create=True, exclusive=True)
    store.log = log = []
    file.write(0, b"n" * blocks * geometry.block_bytes)
    file.sync()
    named = next(at for at, entry in enumerate(log) if entry is not None and entry[0] < 2 * geometry.block_bytes)
    assert log[named - 1] is None
    assert any(entry is not None for entry in log[:named])


class FullHeads(NoHeads):
    """There is no memory left to give an answer with."""

    def get(self, block: int) -> None:
        raise MemoryError


def test_a_read_that_raises_is_a_failure_and_nothing_that_littlefs_goes_on_from() -> None:
    """littlefs-python passes over what its callbacks raise, with the bytes that the buffer happens to have."""
    cache = BlockCache(MemoryStore(1 << 20), 4096, 0, FullHeads())
    assert bytes(cache.read(None, 3, 0, 16))[:16] == bytes(16)
    assert "MemoryError" in str(cache.error)
    assert cache.prog(None, 3, 0, bytes(512)) < 0
