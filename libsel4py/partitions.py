"""Which sectors a partition has: the tables of MBR and GPT, read from a disk that may hold anything, and a new one.

Sources: UEFI 2.10, chapter 5 (GPT, protective MBR); the MBR as IBM PC DOS left it: four entries of 16 bytes at 446, and
logical drives in a chain of such tables. Partitions have their numbers as on Linux: 1 to 4, logical drives from 5 on.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from libsel4py.interfaces.block import SECTOR_BYTES

MOST_PARTITIONS: Final = 128
FIRST_SECTOR: Final = 2048  # of a new partition: at 1 MiB, as every tool of today has it
_MBR: Final = struct.Struct("<B3xB3xII")  # status, type, first, sectors
_GPT: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
_LINUX: Final = 0x83
_EXTENDED: Final = (0x05, 0x0F, 0x85)
_PROTECTIVE: Final = 0xEE

Read = Callable[[int, int], bytes]  # (first sector, sectors)


class BadTable(Exception):
    """The disk has no partition table that can be read; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Partition:
    """``sectors`` from ``first`` on."""

    first: int
    sectors: int


def read_table(read: Read, sectors: int) -> dict[int, Partition]:
    """A disk's partitions by number. Raises BadTable, and what ``read`` raises."""
    first = read(0, 1)
    if first[510:512] != b"\x55\xaa":
        raise BadTable("sector 0 does not end as a partition table does")
    entries = [_MBR.unpack_from(first, 446 + 16 * at) for at in range(4)]
    if any(kind == _PROTECTIVE for _, kind, _, _ in entries):
        return _gpt(read, sectors)
    found = {}
    for number, (_, kind, start, count) in enumerate(entries, 1):
        if kind in _EXTENDED:
            found.update(_logical(read, start, sectors))
        elif kind:
            found[number] = _within(number, start, count, sectors)
    return found


def one_partition(sectors: int) -> tuple[bytes, Partition]:
    """Sector 0 of a disk with one partition, and where that is. Raises ValueError: it is too small or too large."""
    count = sectors - FIRST_SECTOR
    if count <= 0:
        first = FIRST_SECTOR * SECTOR_BYTES
        raise ValueError(f"{sectors * SECTOR_BYTES} bytes are too few for a partition, which begins behind {first}")
    if count >= 1 << 32:
        raise ValueError(f"{sectors * SECTOR_BYTES} bytes are too many for a partition: it ends below 2 TiB")
    table = bytearray(SECTOR_BYTES)
    _MBR.pack_into(table, 446, 0, _LINUX, FIRST_SECTOR, count)
    table[510:512] = b"\x55\xaa"
    return bytes(table), Partition(FIRST_SECTOR, count)


def _logical(read: Read, base: int, sectors: int) -> dict[int, Partition]:
    found: dict[int, Partition] = {}
    at = base
    for number in range(5, 5 + MOST_PARTITIONS):
        if not 0 < at < sectors:
            raise BadTable(f"the extended partition goes on at sector {at}, which is not on the disk")
        table = read(at, 1)
        if table[510:512] != b"\x55\xaa":
            raise BadTable(f"sector {at} is no partition table")
        _, kind, start, count = _MBR.unpack_from(table, 446)
        if kind:
            found[number] = _within(number, at + start, count, sectors)
        _, following, offset, _ = _MBR.unpack_from(table, 462)
        if following not in _EXTENDED or not offset:
            return found
        at = base + offset
    raise BadTable(f"there are more than {MOST_PARTITIONS} logical drives, or they go round")


def _gpt(read: Read, sectors: int) -> dict[int, Partition]:
    """The first table, or the one at the disk's end where that one is broken."""
    try:
        return _gpt_at(read, 1, sectors)
    except BadTable as first:
        try:
            return _gpt_at(read, sectors - 1, sectors)
        except BadTable as last:
            raise BadTable(f"{first}; nor is the copy at the end of any use: {last}") from None


def _gpt_at(read: Read, at: int, sectors: int) -> dict[int, Partition]:
    if at >= sectors:
        raise BadTable(f"a GPT begins in sector {at}, and the disk has {sectors}")
    header = read(at, 1)
    mark, _, size, crc, _, own, _, _, _, _, start, count, each, table_crc = _GPT.unpack_from(header)
    if mark != b"EFI PART" or not _GPT.size <= size <= SECTOR_BYTES:
        raise BadTable(f"sector {at} is no GPT header")
    if zlib.crc32(header[:16] + bytes(4) + header[20:size]) != crc or own != at:
        raise BadTable(f"the GPT header in sector {at} has a wrong checksum or place")
    length = -(-count * each // SECTOR_BYTES)
    if not 0 < count <= MOST_PARTITIONS or each != _ENTRY.size or not 1 < start <= sectors - length:
        raise BadTable(f"the GPT in sector {at} has {count} entries of {each} bytes at sector {start}")
    table = b"".join(read(start + part, 1) for part in range(length))[: count * each]
    if zlib.crc32(table) != table_crc:
        raise BadTable(f"the GPT of sector {at} has entries with a wrong checksum")
    found = {}
    for number, (kind, _, first, last, _, _) in enumerate(_ENTRY.iter_unpack(table), 1):
        if kind != bytes(16):
            found[number] = _within(number, first, last - first + 1, sectors)
    return found


def _within(number: int, first: int, count: int, sectors: int) -> Partition:
    if first < 1 or count < 1 or first + count > sectors:
        raise BadTable(f"partition {number} has sectors {first} to {first + count - 1} of a disk with {sectors}")
    return Partition(first, count)
