"""Partition tables of disks that hold anything: MBR, logical drives, GPT and its copy, and what is wrong with them."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libsel4py.partitions import BadTable, Partition, read_table

SECTORS = 2048
LINUX, EXTENDED, PROTECTIVE = 0x83, 0x05, 0xEE
GUID = bytes(range(16))


class Image:
    """A disk's sectors."""

    def __init__(self) -> None:
        self.data = bytearray(SECTORS * 512)

    def read(self, first: int, count: int) -> bytes:
        assert 0 <= first <= first + count <= SECTORS, f"sectors {first} to {first + count - 1} are not on the disk"
        return bytes(self.data[512 * first : 512 * (first + count)])

    def mbr(self, at: int, *entries: tuple[int, int, int]) -> None:
        """A table of (type, first, sectors)."""
        for number, (kind, first, count) in enumerate(entries):
            place = 512 * at + 446 + 16 * number
            self.data[place : place + 16] = struct.pack("<B3xB3xII", 0, kind, first, count)
        self.data[512 * at + 510 : 512 * at + 512] = b"\x55\xaa"

    def gpt(self, at: int, start: int, *entries: tuple[int, int], count: int = 128) -> None:
        """A table of (first, last) in sector ``at``, whose entries begin in sector ``start``."""
        table = b"".join(struct.pack("<16s16sQQQ72s", GUID, GUID, first, last, 0, b"") for first, last in entries)
        table = table.ljust(128 * count, b"\0")
        self.data[512 * start : 512 * start + len(table)] = table
        rest = (34, SECTORS - 34, GUID, start, count, 128, zlib.crc32(table))

        def header(crc: int) -> bytes:
            other = SECTORS - 1 if at == 1 else 1
            return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, at, other, *rest)

        self.data[512 * at : 512 * at + 92] = header(zlib.crc32(header(0)))

    @property
    def table(self) -> dict[int, Partition]:
        return read_table(self.read, SECTORS)


@pytest.fixture
def image() -> Image:
    return Image()


def test_the_four_of_an_mbr(image: Image) -> None:
    image.mbr(0, (LINUX, 10, 100), (0, 0, 0), (LINUX, 200, SECTORS - 200))
    assert image.table == {1: Partition(10, 100), 3: Partition(200, SECTORS - 200)}


def test_logical_drives_begin_at_five(image: Image) -> None:
    image.mbr(0, (LINUX, 10, 100), (EXTENDED, 500, 1000))
    image.mbr(500, (LINUX, 4, 96), (EXTENDED, 100, 200))
    image.mbr(600, (LINUX, 4, 196))
    assert image.table == {1: Partition(10, 100), 5: Partition(504, 96), 6: Partition(604, 196)}


def test_logical_drives_that_go_round_end(image: Image) -> None:
    image.mbr(0, (EXTENDED, 500, 1000))
    image.mbr(500, (LINUX, 4, 96), (EXTENDED, 100, 200))
    image.mbr(600, (LINUX, 4, 96), (EXTENDED, 100, 200))
    with pytest.raises(BadTable, match="go round"):
        _ = image.table


def test_a_gpt(image: Image) -> None:
    image.mbr(0, (PROTECTIVE, 1, SECTORS - 1))
    image.gpt(1, 2, (40, 99), (100, SECTORS - 34))
    assert image.table == {1: Partition(40, 60), 2: Partition(100, SECTORS - 133)}


@pytest.mark.parametrize("spoilt", [512 + 20, 512 * 2 + 40, 512 * 30])
def test_a_broken_gpt_has_a_copy_at_the_end(image: Image, spoilt: int) -> None:
    image.mbr(0, (PROTECTIVE, 1, SECTORS - 1))
    image.gpt(1, 2, (40, 99))
    image.gpt(SECTORS - 1, SECTORS - 33, (40, 99))
    image.data[spoilt] ^= 1
    assert image.table == {1: Partition(40, 60)}
    image.data[512 * (SECTORS - 1) + 20] ^= 1
    with pytest.raises(BadTable, match="nor is the copy"):
        _ = image.table


@pytest.mark.parametrize("entry", [(LINUX, 0, 10), (LINUX, 10, 0), (LINUX, SECTORS - 1, 2), (LINUX, 1, 0xFFFF_FFFF)])
def test_partitions_outside_of_the_disk_are_refused(image: Image, entry: tuple[int, int, int]) -> None:
    image.mbr(0, entry)
    with pytest.raises(BadTable, match="of a disk with"):
        _ = image.table


def test_an_empty_disk_has_no_table(image: Image) -> None:
    with pytest.raises(BadTable, match="does not end"):
        _ = image.table


def test_a_disk_of_one_sector_has_no_gpt(image: Image) -> None:
    image.mbr(0, (PROTECTIVE, 1, 1))

    def read(first: int, count: int) -> bytes:
        assert (first, count) == (0, 1)
        return image.read(first, count)

    with pytest.raises(BadTable, match="a GPT begins in sector 1, and the disk has 1"):
        read_table(read, 1)


@given(st.binary(min_size=66, max_size=66), st.sampled_from([EXTENDED, PROTECTIVE, LINUX]), st.binary(max_size=1024))
def test_no_table_leads_off_the_disk(entries: bytes, kind: int, further: bytes) -> None:
    image = Image()
    image.data[446:512] = entries
    image.data[510:512] = b"\x55\xaa"
    image.data[450] = kind
    image.data[512 : 512 + len(further)] = further
    image.data[512:520] = b"EFI PART"
    try:
        found = image.table
    except BadTable:
        return
    assert all(0 < each.first < each.first + each.sectors <= SECTORS for each in found.values())
