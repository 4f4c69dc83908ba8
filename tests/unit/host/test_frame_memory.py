"""Frames with memory of their own: window and memfd are the same bytes, wherever they move, till the frame is gone."""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hw.machine import create_ram
from hw.ram import Ram, RamError
from hw.window import lay_fresh, make_memories, map_fixed
from kerneld.host.fd_store import FdStore
from kerneld.host.frame_memory import CHUNK, WITHDRAWN_AT_ONCE, FrameMemory, Move, withdraw_some
from kerneld.host.image import save_image

RAM_BYTES = 32 << 20
FRAME, SIZE = 0x40000, 0x4000
BIG, BIG_SIZE = 16 << 20, 16 << 20


@pytest.fixture
def ram_fd() -> Iterator[int]:
    descriptor = create_ram(RAM_BYTES, "test")
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def ram(ram_fd: int) -> Ram:
    return Ram(mmap.mmap(ram_fd, RAM_BYTES), 0x1000, 0x1000)


class Memory(FrameMemory):
    """Withdraws at once."""

    def __init__(self, ram: Ram, ram_fd: int, devices_from: int | None = None) -> None:
        self.loop = asyncio.new_event_loop()
        super().__init__(ram, ram_fd, FdStore(None, self.loop), self._withdraw_all, devices_from)

    def _withdraw_all(self, descriptor: int, key: str, done: Callable[[], None]) -> None:
        while withdraw_some(descriptor):
            continue
        os.close(descriptor)
        done()

    def frame_fd(self, address: int, size: int) -> int:
        if address not in self:
            finish(self.move(address, size, True))
        return self.descriptor(address, size)


def finish(move: Move) -> int:
    """How many chunks it took."""
    count = 1
    while move.step():
        count += 1
    return count


@pytest.fixture
def memory(ram: Ram, ram_fd: int) -> Iterator[Memory]:
    frames = Memory(ram, ram_fd)
    yield frames
    frames.close()
    frames.loop.close()


def test_the_frame_keeps_its_bytes_and_its_neighbours_theirs(ram: Ram, memory: Memory) -> None:
    ram.poke(FRAME - 8, b"before--frame---")
    ram.poke(FRAME + SIZE - 4, b"end.next")
    descriptor = memory.frame_fd(FRAME, SIZE)
    assert os.pread(descriptor, 8, 0) == b"frame---"
    assert os.pread(descriptor, 4, SIZE - 4) == b"end."
    assert ram.read(FRAME - 8, 16) == b"before--frame---"
    assert ram.read(FRAME + SIZE - 4, 8) == b"end.next"


def test_window_and_memfd_are_the_same_memory(ram: Ram, memory: Memory) -> None:
    descriptor = memory.frame_fd(FRAME, SIZE)
    assert memory.frame_fd(FRAME, SIZE) == descriptor
    os.pwrite(descriptor, b"from the task", 0x123)
    assert ram.read(FRAME + 0x123, 13) == b"from the task"
    ram.poke(FRAME + 0x2000, b"from the kernel")
    assert os.pread(descriptor, 15, 0x2000) == b"from the kernel"


def test_a_frame_that_is_gone_is_taken_from_its_holders(ram: Ram, memory: Memory) -> None:
    ram.poke(FRAME, b"secret")
    kept = os.dup(memory.frame_fd(FRAME, SIZE))
    memory.gone(FRAME)
    memory.gone(FRAME)
    assert os.fstat(kept).st_size == 0
    with pytest.raises(PermissionError):
        os.ftruncate(kept, SIZE)
    os.close(kept)
    assert ram.read(FRAME, SIZE) == bytes(SIZE)
    assert len(memory) == 0


def test_the_next_frame_there_has_memory_of_its_own(ram: Ram, memory: Memory) -> None:
    memory.frame_fd(FRAME, SIZE)
    memory.gone(FRAME)
    ram.poke(FRAME, b"again")
    descriptor = memory.frame_fd(FRAME, 2 * SIZE)
    assert os.pread(descriptor, 5, 0) == b"again"
    with pytest.raises(ValueError, match="was not forgotten"):
        memory.frame_fd(FRAME, SIZE)


def test_the_memfd_cannot_grow_and_its_seals_stay(memory: Memory) -> None:
    descriptor = memory.frame_fd(FRAME, SIZE)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 2 * SIZE)
    with pytest.raises(PermissionError):
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)


def test_ram_gives_covered_pages_back(ram: Ram, ram_fd: int, memory: Memory) -> None:
    ram.poke(FRAME, b"x" * SIZE)
    held = os.fstat(ram_fd).st_blocks
    memory.frame_fd(FRAME, SIZE)
    assert held - os.fstat(ram_fd).st_blocks == SIZE // 512


def test_what_is_all_zeroes_takes_no_memory_where_it_moves(ram: Ram, ram_fd: int, memory: Memory) -> None:
    first = memory.frame_fd(FRAME, SIZE)
    os.pwrite(first, bytes(SIZE), 0)
    os.pwrite(ram_fd, b"stale" * 100, FRAME)  # by a kernel that ended while the frame moved there
    finish(memory.move(FRAME, SIZE, False))
    assert ram.read(FRAME, SIZE) == bytes(SIZE)
    os.pwrite(ram_fd, bytes(SIZE), FRAME)
    second = memory.frame_fd(FRAME, SIZE)
    assert os.fstat(second).st_blocks == 0
    os.pwrite(second, b"x", SIZE - 1)
    finish(memory.move(FRAME, SIZE, True))
    assert ram.read(FRAME, SIZE) == bytes(SIZE - 1) + b"x"


def test_only_whole_pages_inside_of_ram_are_laid_over(ram: Ram, ram_fd: int) -> None:
    for address, size in ((FRAME + 8, 4096), (FRAME, 100), (RAM_BYTES, 4096), (FRAME, 0)):
        with pytest.raises(RamError):
            map_fixed(ram, address, size, ram_fd, 0)


def test_an_image_is_what_the_window_shows(ram: Ram, ram_fd: int, memory: Memory, tmp_path: Path) -> None:
    ram.poke(FRAME, b"in the frame")
    memory.frame_fd(FRAME, SIZE)
    ram.poke(0x8000, b"in ram")
    file = tmp_path / "image"
    assert save_image(ram_fd, memory, file) == RAM_BYTES
    assert file.read_bytes() == ram.read(0, RAM_BYTES)
    assert file.stat().st_blocks * 512 < RAM_BYTES // 4
    assert file.stat().st_mode & 0o777 == 0o600


def test_bytes_move_to_another_memfd_and_the_old_one_is_nobodys(ram: Ram, memory: Memory) -> None:
    ram.poke(FRAME, b"kept")
    old = os.dup(memory.frame_fd(FRAME, SIZE))
    seen = mmap.mmap(old, SIZE)
    seen[SIZE - 4 :] = b"last"
    withdrawn: list[str] = []
    finish(memory.move(FRAME, SIZE, True, lambda: withdrawn.append("gone")))
    new = memory.descriptor(FRAME, SIZE)
    assert (os.pread(new, 4, 0), os.pread(new, 4, SIZE - 4)) == (b"kept", b"last")
    assert os.fstat(old).st_size == 0
    os.close(old)
    os.pwrite(new, b"here", 0)
    assert ram.read(FRAME, 4) == b"here"
    assert withdrawn == ["gone"]


def test_bytes_move_back_to_ram_and_the_descriptor_is_closed(ram: Ram, memory: Memory) -> None:
    before = len(os.listdir("/proc/self/fd"))
    os.pwrite(memory.frame_fd(FRAME, SIZE), b"from the task", 5)
    finish(memory.move(FRAME, SIZE, False))
    assert ram.read(FRAME, 18) == bytes(5) + b"from the task"
    assert len(memory) == 0
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.pread(memory.frame_fd(FRAME, SIZE), 13, 5) == b"from the task"


def test_what_is_written_through_the_window_while_bytes_move_is_not_lost(ram: Ram, memory: Memory) -> None:
    ram.poke(BIG, b"x" * BIG_SIZE)
    for to_own in (True, True, False):
        move = memory.move(BIG, BIG_SIZE, to_own)
        assert move.step()
        ram.poke(BIG, b"behind the move")
        ram.poke(BIG + BIG_SIZE - 16, b"before the move!")
        finish(move)
        assert ram.read(BIG, 16) == b"behind the movex"
        assert ram.read(BIG + BIG_SIZE - 16, 16) == b"before the move!"
        ram.poke(BIG, b"x" * 16)
        ram.poke(BIG + BIG_SIZE - 16, b"x" * 16)
    assert ram.read(BIG, BIG_SIZE) == b"x" * BIG_SIZE


def test_a_large_frame_moves_in_chunks_and_holes_cost_nothing(ram: Ram, ram_fd: int, memory: Memory) -> None:
    at = BIG + 5 * CHUNK + 4096
    ram.poke(at, b"y" * CHUNK)
    chunks = finish(memory.move(BIG, BIG_SIZE, True))
    assert chunks <= 3
    held = os.fstat(memory.descriptor(BIG, BIG_SIZE)).st_blocks * 512
    assert held == CHUNK
    assert finish(memory.move(BIG, BIG_SIZE, True)) <= 3
    assert os.fstat(memory.descriptor(BIG, BIG_SIZE)).st_blocks * 512 == held
    assert ram.read(at, CHUNK) == b"y" * CHUNK
    assert ram.read(at - 4096, 4096) == bytes(4096)


def test_a_large_memfd_is_withdrawn_from_its_end_on() -> None:
    descriptor = os.memfd_create("large")
    os.pwrite(descriptor, b"z" * (3 * WITHDRAWN_AT_ONCE), 0)
    assert withdraw_some(descriptor)
    assert os.fstat(descriptor).st_size == 2 * WITHDRAWN_AT_ONCE
    assert withdraw_some(descriptor)
    assert not withdraw_some(descriptor)
    assert os.fstat(descriptor).st_size == 0
    os.close(descriptor)


@pytest.mark.parametrize("own", [False, True])
def test_a_frame_that_is_destroyed_while_it_moves_leaves_nothing(ram: Ram, memory: Memory, own: bool) -> None:
    before = len(os.listdir("/proc/self/fd"))
    ram.poke(BIG, b"x" * (4 * CHUNK))
    if own:
        memory.frame_fd(BIG, BIG_SIZE)
    move = memory.move(BIG, BIG_SIZE, True)
    assert move.step()
    move.abandon()
    memory.gone(BIG)
    assert (len(memory), len(os.listdir("/proc/self/fd"))) == (0, before)
    ram.zero(BIG, BIG_SIZE)
    assert ram.read(BIG, CHUNK) == bytes(CHUNK)


@pytest.mark.parametrize("own", [False, True])
def test_an_image_of_a_frame_that_moves_has_all_of_it(
    ram: Ram, ram_fd: int, memory: Memory, tmp_path: Path, own: bool
) -> None:
    ram.poke(BIG, b"x" * (4 * CHUNK))
    if own:
        memory.frame_fd(BIG, BIG_SIZE)
    move = memory.move(BIG, BIG_SIZE, True)
    assert move.step()
    file = tmp_path / "image"
    save_image(ram_fd, memory, file)
    assert file.read_bytes()[BIG : BIG + 4 * CHUNK] == b"x" * (4 * CHUNK)
    finish(move)


def test_memory_that_is_made_ahead_cannot_grow_and_keeps_to_its_descriptors() -> None:
    made = make_memories("frames", 3, 4096, 1 << 20)
    try:
        assert [os.fstat(each).st_size for each in made] == [4096] * 3
        assert {fcntl.fcntl(each, fcntl.F_GET_SEALS) for each in made} == {fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL}
        assert not any(os.get_inheritable(each) for each in made)
    finally:
        for each in made:
            os.close(each)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Too many open files"):
        make_memories("frames", 3, 4096, 0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_memory_is_laid_over_what_holds_nothing_and_noted_before(ram: Ram, ram_fd: int) -> None:
    (descriptor,) = make_memories("frame", 1, 4096, 1 << 20)
    words = bytearray(16)
    try:
        ram.poke(FRAME, b"kept")
        assert not lay_fresh(ram, ram_fd, FRAME, 4096, descriptor, words, 1)
        assert (words, ram.read(FRAME, 4)) == (bytes(16), b"kept")
        assert lay_fresh(ram, ram_fd, FRAME + 4096, 4096, descriptor, words, 1)
        assert memoryview(words).cast("Q").tolist() == [0, FRAME + 4096]
        ram.poke(FRAME + 4096, b"here")
        assert os.pread(descriptor, 4, 0) == b"here"
        for wrong in ((FRAME + 8, 4096, 1), (FRAME, 4096, 2), (FRAME, 0, 1), (RAM_BYTES, 4096, 1)):
            with pytest.raises(RamError):
                lay_fresh(ram, ram_fd, wrong[0], wrong[1], descriptor, words, wrong[2])
        with pytest.raises(OSError, match="Bad file descriptor"):
            lay_fresh(ram, ram_fd, FRAME + 8192, 4096, -1, words, 0)
        assert memoryview(words).cast("Q").tolist() == [0, FRAME + 4096]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("size", [4096, SIZE, BIG_SIZE])
def test_what_a_device_s_frame_holds_is_there_when_the_frame_is_gone(ram: Ram, ram_fd: int, size: int) -> None:
    memory = Memory(ram, ram_fd, BIG)
    ram.poke(BIG, b"before")
    kept = os.dup(memory.frame_fd(BIG, size))
    os.pwrite(kept, b"the driver's", size - 100)
    os.pwrite(kept, bytes(6), 0)
    memory.gone(BIG)
    memory.gone(BIG)
    assert os.fstat(kept).st_size == 0
    os.close(kept)
    assert len(memory) == 0
    assert ram.read(BIG, size) == bytes(size - 100) + b"the driver's" + bytes(88)
    assert os.pread(memory.frame_fd(BIG, 8192), 12, 4096 - 100) == (b"the driver's" if size == 4096 else bytes(12))
    memory.frame_fd(FRAME, SIZE)
    ram.poke(FRAME, b"of RAM")
    memory.gone(FRAME)
    assert ram.read(FRAME, 6) == bytes(6)
    memory.close()
    memory.loop.close()
