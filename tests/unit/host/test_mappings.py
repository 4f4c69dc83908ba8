"""Frames with memory of their own: the window and the memfd are the same bytes, until the frame is gone."""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hw.machine import create_ram
from hw.ram import Ram, RamError
from hw.window import map_fixed
from kerneld.host.fd_store import FdStore
from kerneld.host.image import save_image
from kerneld.host.mappings import Mappings
from libsel4py.abi import Rights

RAM_BYTES = 1 << 20
FRAME, SIZE = 0x40000, 0x4000


@pytest.fixture
def ram_fd() -> Iterator[int]:
    descriptor = create_ram(RAM_BYTES, "test")
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def ram(ram_fd: int) -> Ram:
    return Ram(mmap.mmap(ram_fd, RAM_BYTES), 0x1000, 0x1000)


@pytest.fixture
def mappings(ram: Ram, ram_fd: int) -> Iterator[Mappings]:
    loop = asyncio.new_event_loop()
    frames = Mappings(ram, ram_fd, FdStore(None, loop))
    yield frames
    frames.close()
    loop.close()


def test_the_frame_keeps_its_bytes_and_its_neighbours_theirs(ram: Ram, mappings: Mappings) -> None:
    ram.poke(FRAME - 8, b"before--frame---")
    ram.poke(FRAME + SIZE - 4, b"end.next")
    descriptor = mappings.frame_fd(FRAME, SIZE)
    assert os.pread(descriptor, 8, 0) == b"frame---"
    assert os.pread(descriptor, 4, SIZE - 4) == b"end."
    assert ram.read(FRAME - 8, 16) == b"before--frame---"
    assert ram.read(FRAME + SIZE - 4, 8) == b"end.next"


def test_window_and_memfd_are_the_same_memory(ram: Ram, mappings: Mappings) -> None:
    descriptor = mappings.frame_fd(FRAME, SIZE)
    assert mappings.frame_fd(FRAME, SIZE) == descriptor
    os.pwrite(descriptor, b"from the task", 0x123)
    assert ram.read(FRAME + 0x123, 13) == b"from the task"
    ram.poke(FRAME + 0x2000, b"from the kernel")
    assert os.pread(descriptor, 15, 0x2000) == b"from the kernel"


def test_a_frame_that_is_gone_is_taken_from_its_holders(ram: Ram, mappings: Mappings) -> None:
    ram.poke(FRAME, b"secret")
    kept = os.dup(mappings.frame_fd(FRAME, SIZE))
    mappings.gone(FRAME, SIZE)
    mappings.gone(FRAME, SIZE)
    assert os.fstat(kept).st_size == 0
    with pytest.raises(PermissionError):
        os.ftruncate(kept, SIZE)
    os.close(kept)
    assert ram.read(FRAME, SIZE) == bytes(SIZE)
    assert len(mappings) == 0


def test_the_next_frame_there_has_memory_of_its_own(ram: Ram, mappings: Mappings) -> None:
    mappings.frame_fd(FRAME, SIZE)
    mappings.gone(FRAME, SIZE)
    ram.poke(FRAME, b"again")
    descriptor = mappings.frame_fd(FRAME, 2 * SIZE)
    assert os.pread(descriptor, 5, 0) == b"again"
    with pytest.raises(ValueError, match="was not forgotten"):
        mappings.frame_fd(FRAME, SIZE)


def test_the_memfd_cannot_grow_and_its_seals_stay(mappings: Mappings) -> None:
    descriptor = mappings.frame_fd(FRAME, SIZE)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 2 * SIZE)
    with pytest.raises(PermissionError):
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)


def test_ram_gives_covered_pages_back(ram: Ram, ram_fd: int, mappings: Mappings) -> None:
    ram.poke(FRAME, b"x" * SIZE)
    held = os.fstat(ram_fd).st_blocks
    mappings.frame_fd(FRAME, SIZE)
    assert held - os.fstat(ram_fd).st_blocks == SIZE // 512


def test_only_whole_pages_inside_of_ram_are_laid_over(ram: Ram, ram_fd: int) -> None:
    for address, size in ((FRAME + 8, 4096), (FRAME, 100), (RAM_BYTES, 4096), (FRAME, 0)):
        with pytest.raises(RamError):
            map_fixed(ram, address, size, ram_fd, 0)


def test_an_image_is_what_the_window_shows(ram: Ram, ram_fd: int, mappings: Mappings, tmp_path: Path) -> None:
    ram.poke(FRAME, b"in the frame")
    mappings.frame_fd(FRAME, SIZE)
    ram.poke(0x8000, b"in ram")
    file = tmp_path / "image"
    assert save_image(ram_fd, mappings, file) == RAM_BYTES
    assert file.read_bytes() == ram.read(0, RAM_BYTES)
    assert file.stat().st_blocks * 512 < RAM_BYTES // 4
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_read_only_descriptor_can_be_mapped_for_reading_alone(ram: Ram, mappings: Mappings) -> None:
    """Neither now nor by mprotect(2), and the frame's end takes it away as well."""
    ram.poke(FRAME, b"as told")
    descriptor = mappings.map_fd(FRAME, SIZE, Rights.READ)
    assert mappings.map_fd(FRAME, SIZE, Rights.READ) == descriptor
    with pytest.raises(PermissionError):
        mmap.mmap(descriptor, SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(descriptor, b"x", 0)
    seen = mmap.mmap(descriptor, SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
    ram.poke(FRAME, b"changed")
    assert seen[:7] == b"changed"
    mappings.gone(FRAME, SIZE)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_writable_descriptor_is_the_frame_s_own(mappings: Mappings) -> None:
    assert mappings.map_fd(FRAME, SIZE, Rights.READ | Rights.WRITE) == mappings.frame_fd(FRAME, SIZE)
