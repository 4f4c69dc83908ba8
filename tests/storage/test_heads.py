"""What a file system's life leaves to the next one is so at each store at which it may end, and spares reading."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from littlefs.errors import LittleFSError

from libsel4py.interfaces.file import DeviceFailed
from libsel4py.littlefs import LittleFsVolume, MemoryStore, StoreFailed, format_store
from libsel4py.littlefs.heads import SECTOR_BYTES, Heads
from libsel4py.testing.power_loss import Work, random_work, read_tree
from tests.unit.sdk.cut_memory import CutMemory

MEDIUM = 7
SIZE = 1 << 20
OPERATIONS = 25
LIVES = 3
PIECE = 1 << 16


class WatchedMemory(CutMemory):
    """Calls ``look`` behind each store."""

    look: Callable[[], None] = staticmethod(lambda: None)

    def _store(self, offset: int, data: bytes) -> None:
        super()._store(offset, data)
        self.look()


class WatchedStore(MemoryStore):
    """Calls ``look`` around each piece that it writes, half of which is written first; counts what is read."""

    look: Callable[[], None] = staticmethod(lambda: None)
    bytes_read = 0
    failing = False
    failing_flushes = 0
    flushing: Callable[[], None] = staticmethod(lambda: None)

    def read(self, offset: int, size: int, /) -> bytes:
        self.bytes_read += size
        return super().read(offset, size)

    def write(self, pieces: Sequence[tuple[int, bytes | bytearray | memoryview]], /) -> None:
        for offset, data in pieces:
            half = len(data) // 2
            for at, part in ((offset, data[:half]), (offset + half, data[half:])):
                super().write([(at, part)])
                self.look()
        if self.failing:
            raise StoreFailed("the disk is gone")

    def flush(self) -> None:
        self.flushing()
        if self.failing_flushes:
            self.failing_flushes -= 1
            raise StoreFailed("what was written may be lost")
        super().flush()


def blocks_of(heads: Heads) -> int:
    assert heads.geometry is not None
    return heads.geometry[1]


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
@pytest.mark.parametrize("size", [16 << 10, 64 << 10], ids=["of a part", "of all blocks"])
@pytest.mark.parametrize("seed", range(2))
def test_whenever_a_life_ends_what_is_there_is_what_the_medium_has(seed: int, size: int, cache_bytes: int) -> None:
    randomly = random.Random(seed)
    store, memory = WatchedStore(SIZE), WatchedMemory(size)
    format_store(store)
    store.log = log = []
    believed = 0

    def look() -> None:
        nonlocal believed
        as_next_life = CutMemory(0)
        as_next_life.bytes, as_next_life.size = memory.bytes, size
        heads = Heads(as_next_life, MEDIUM)
        if heads.geometry is None:
            return
        block_bytes, blocks = heads.geometry
        for block in randomly.sample(range(blocks), 8) if memory.stores % 64 else range(blocks):
            head = heads.get(block)
            believed += head is not None
            at = block * block_bytes
            assert head is None or head == store.data[at : at + SECTOR_BYTES], f"block {block}"
        assert not heads.is_flushed or not log or log[-1] is None, "something that was written is not flushed"

    memory.look = store.look = look
    tree = None
    for _ in range(LIVES):  # each ends without a word, with what it has not written
        work = Work(LittleFsVolume(store, cache_bytes, Heads(memory, MEDIUM)), lambda: len(log), tree)
        for operation in random_work(randomly, work, OPERATIONS, SIZE // 5):
            work.do(operation)
        tree = read_tree(LittleFsVolume(MemoryStore(data=bytearray(store.data), read_only=True)))
        assert read_tree(LittleFsVolume(store, cache_bytes, Heads(memory, MEDIUM))) == tree
    assert believed > 100


def with_a_file() -> tuple[WatchedStore, CutMemory]:
    """A medium with a large file, and what the life that wrote it left."""
    store, memory = WatchedStore(16 << 20), CutMemory(1 << 20)
    format_store(store)
    volume = LittleFsVolume(store, heads=Heads(memory, MEDIUM))
    file = volume.open("big", create=True, exclusive=True)
    for at in range(100):
        file.write(at * PIECE, bytes([at]) * PIECE)
    file.sync()
    store.bytes_read = 0
    store.log = []
    return store, memory


def test_a_life_behind_another_one_finds_what_is_free_without_reading_it() -> None:
    store, memory = with_a_file()
    volume = LittleFsVolume(store, heads=Heads(memory, MEDIUM))
    assert store.log == [], "there was nothing to flush"
    volume.open("new", create=True, exclusive=True).write(0, bytes(PIECE))
    assert store.bytes_read < 4 * PIECE


def test_another_medium_is_read_and_flushed() -> None:
    store, memory = with_a_file()
    volume = LittleFsVolume(store, heads=Heads(memory, MEDIUM + 1))
    assert store.log == [None]
    volume.open("new", create=True, exclusive=True).write(0, bytes(PIECE))
    assert store.bytes_read > 90 * PIECE
    assert Heads(memory, MEDIUM).geometry is None


def test_what_was_damaged_is_not_believed() -> None:
    store, memory = with_a_file()
    randomly = random.Random(1)
    for _ in range(200):
        memory.bytes[randomly.randrange(memory.size)] ^= 1 << randomly.randrange(8)
    heads = Heads(memory, MEDIUM)
    if heads.geometry is not None:
        block_bytes, blocks = heads.geometry
        for block in range(blocks):
            head = heads.get(block)
            assert head is None or head == store.data[block * block_bytes :][:SECTOR_BYTES]


def test_nothing_is_left_where_the_medium_has_failed() -> None:
    store, memory = with_a_file()
    volume = LittleFsVolume(store, heads=Heads(memory, MEDIUM))
    file = volume.open("new", create=True, exclusive=True)
    store.failing = True
    with pytest.raises(DeviceFailed):
        file.write(0, bytes(4 << 20))
    heads = Heads(memory, MEDIUM)
    assert not heads.is_flushed
    assert all(heads.get(block) is None for block in range(blocks_of(heads)))


def believed(memory: CutMemory) -> int:
    """How many sectors the next life would believe."""
    heads = Heads(memory, MEDIUM)
    return 0 if heads.geometry is None else sum(heads.get(block) is not None for block in range(heads.geometry[1]))


def test_a_mount_whose_flush_fails_believes_the_medium_alone() -> None:
    store, memory = with_a_file()
    assert believed(memory) > 100
    Heads(memory, MEDIUM).writes()  # its life has ended in a write
    store.failing_flushes = 1
    volume = LittleFsVolume(store, heads=Heads(memory, MEDIUM))
    assert store.log == [None], "it has flushed once more"
    volume.open("new", create=True, exclusive=True).write(0, bytes(PIECE))
    assert store.bytes_read > 90 * PIECE


def test_a_mount_that_cannot_flush_leaves_nothing() -> None:
    store, memory = with_a_file()
    Heads(memory, MEDIUM).writes()
    store.failing_flushes = 2
    with pytest.raises(DeviceFailed, match="may be lost"):
        LittleFsVolume(store, heads=Heads(memory, MEDIUM))
    assert not believed(memory)


def test_a_flush_that_a_life_has_ended_in_may_have_failed() -> None:
    store, memory = with_a_file()
    volume = LittleFsVolume(store, heads=Heads(memory, MEDIUM))
    file = volume.open("new", create=True, exclusive=True)
    seen: list[int] = []
    store.flushing = lambda: seen.append(believed(memory))
    file.write(0, bytes(4 << 20))  # more than waits for its sync
    file.sync()
    assert seen
    assert seen[0] == 0, "had it ended here, what was written out might be lost"
    assert believed(memory) > 100
    left = Heads(memory, MEDIUM)
    left.writes()
    seen.clear()
    LittleFsVolume(store, heads=left)
    assert seen == [0], "nor does a mount that ends in its flush leave anything"


def test_what_cannot_be_mounted_as_it_is_here_is_mounted_as_the_medium_has_it() -> None:
    store, memory = with_a_file()
    heads = Heads(memory, MEDIUM)
    for block in (0, 1):
        heads.forget(block)
        heads.put(block, bytes(SECTOR_BYTES))
    volume = LittleFsVolume(store, heads=heads)
    assert [entry.name for entry in volume.list("")] == ["big"]
    assert [entry.name for entry in LittleFsVolume(store, heads=Heads(memory, MEDIUM)).list("")] == ["big"]


def test_a_geometry_that_is_not_so_is_found_anew() -> None:
    store, memory = with_a_file()
    block_bytes, blocks = Heads(memory, MEDIUM).geometry or (0, 0)
    Heads(memory, MEDIUM).begin(2 * block_bytes, blocks // 2)
    assert [entry.name for entry in LittleFsVolume(store, heads=Heads(memory, MEDIUM)).list("")] == ["big"]
    assert Heads(memory, MEDIUM).geometry == (block_bytes, blocks)


def test_memory_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="have no room for a sector"):
        Heads(CutMemory(SECTOR_BYTES), MEDIUM)


def test_what_is_corrupt_is_not_believed_and_costs_that_once() -> None:
    store, memory = with_a_file()
    heads = Heads(memory, MEDIUM)
    volume = LittleFsVolume(store, heads=heads)

    def corrupt(_system: object) -> None:
        raise LittleFSError(-84)

    def known() -> int:
        return sum(heads.get(block) is not None for block in range(blocks_of(heads)))

    assert known()
    with pytest.raises(DeviceFailed):
        volume.call(corrupt)
    assert not known()
    assert volume.stat("big").size
    assert known()
    with pytest.raises(DeviceFailed):
        volume.call(corrupt)
    assert known(), "they come from the medium"
