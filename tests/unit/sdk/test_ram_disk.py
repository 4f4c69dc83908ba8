"""The disk in memory is a disk, and its events say what it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from libsel4py.dataspace import DataSpace, SharedMemory
from libsel4py.interfaces.block import Block, DiskError, Request
from libsel4py.signature import Word
from libsel4py.testing import connect, system
from libsel4py.testing.block_device import BLOCK_CHECKS, Subject, check_block_device
from libsel4py.testing.ram_disk import Flush, RamDisk, Write, after


@contextmanager
def subject(disk: RamDisk) -> Iterator[Subject]:
    with connect(disk) as client, system() as made:

        def strange() -> SharedMemory:
            return SharedMemory(made.new(object()))

        yield Subject(client, strange)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("check", BLOCK_CHECKS)
def test_it_conforms(check: str, read_only: bool) -> None:
    with subject(RamDisk(200, read_only)) as examined:
        BLOCK_CHECKS[check](examined)


class _Off(RamDisk):
    """A wrong one: it writes one sector too far on."""

    def write(self, buffer: Word, offset: Word, sector: Word, count: Word) -> None:
        super().write(buffer, offset, Word(sector + 1), count)


class _Hasty(RamDisk):
    """A wrong one: of a transfer it does the first request."""

    def transfer(self, buffer: Word, requests: list[Request]) -> None:
        super().transfer(buffer, requests[:1])


class _Keeper(RamDisk):
    """A wrong one: what is detached stays."""

    def detach(self, buffer: Word) -> None:
        self._buffer(buffer)


@pytest.mark.parametrize("wrong", [_Off, _Hasty, _Keeper])
def test_the_suite_finds_what_is_wrong(wrong: type[RamDisk]) -> None:
    with pytest.raises(AssertionError), subject(wrong(200)) as examined:
        check_block_device(examined)


def test_its_events_are_writes_and_flushes_in_order() -> None:
    disk = RamDisk(16)
    with connect(disk) as client, DataSpace.allocate(4096) as space:
        _write(client, space, b"\1" * 512, 3)
        client.flush()
        _write(client, space, b"\2" * 512, 3)
    assert disk.events == [Write(1536, b"\1" * 512), Flush(), Write(1536, b"\2" * 512)]
    assert after(disk.events[:2], 16 * 512)[1536:2048] == b"\1" * 512
    assert after(disk.events, 16 * 512) == bytes(disk.contents)


def test_a_broken_disk_says_so() -> None:
    disk = RamDisk(16)
    with connect(disk) as client:
        disk.is_broken = True
        with pytest.raises(DiskError, match="broken"):
            client.flush()


def _write(client: Block, space: DataSpace, data: bytes, sector: int) -> None:
    mapping = space.mapping or space.attach()
    mapping.write(0, data)
    number = client.attach(space.share())
    client.write(number, 0, sector, len(data) // 512)
    client.detach(number)
