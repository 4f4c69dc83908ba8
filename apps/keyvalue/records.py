"""What the journal's file consists of: records, which are whole, and what can be had back of one that was damaged.

    record      0   crc: u32, of all that follows in the record
                4   count: u32, changes
                8   bytes: u32, of the changes
               12   changes: key length u32, value length u32 (`DELETED`: none), key, value

Rules. What is not whole and ends the file was being written when the power went: it is none. What is not whole and has
a whole record behind it was damaged. A bit that was flipped in it is flipped back, if its checksum agrees with that.
Damage that is larger costs what it set: these keys have no value then, since nobody knows which they should have.
Where it ends is believed only if its checksum or all of its lengths agree: values are strangers' bytes, and may look
like records.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from libsel4py.flipped_bits import neighbours, with_bit_flipped_back

HEADER: Final = struct.Struct("<III")
CHANGE: Final = struct.Struct("<II")
DELETED: Final = (1 << 32) - 1
MOST_RECORD_BYTES: Final = 1 << 24
_CRC_BYTES: Final = 4

Changes = dict[str, bytes | None]


@dataclass(slots=True)
class Found:
    """What a file holds.

    Attributes:
        changes: of each record, in order. end: where the last one ends. damage: what was found of it, for people.
    """

    changes: list[Changes] = field(default_factory=list)
    end: int = 0
    damage: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Damaged:
    """What stands in a damaged record's place: its changes as they were, or that there are no such values."""

    changes: Changes
    length: int
    text: str


def pack(changes: Mapping[str, bytes | None]) -> bytes:
    """A record. Raises OSError: it would be too long."""
    parts = []
    for key, value in changes.items():
        name = key.encode()
        parts.append(CHANGE.pack(len(name), DELETED if value is None else len(value)) + name + (value or b""))
    body = b"".join(parts)
    if len(body) > MOST_RECORD_BYTES:
        raise OSError(f"{len(body)} bytes in one commit; {MOST_RECORD_BYTES} are the most")
    tail = HEADER.pack(0, len(changes), len(body))[_CRC_BYTES:] + body
    return struct.pack("<I", zlib.crc32(tail)) + tail


def size_of(key: str, value: bytes) -> int:
    """Bytes that a change takes in a record."""
    return CHANGE.size + len(key.encode()) + len(value)


def read(data: bytes) -> Found:
    """All records of a file."""
    found = Found()
    while True:
        if record := _whole(data, found.end):
            found.changes.append(_changes(record))
            found.end += len(record)
        elif damaged := _damaged(data, found.end):
            found.changes.append(damaged.changes)
            found.damage.append(damaged.text)
            found.end += damaged.length
        else:
            return found


def _whole(data: bytes, at: int) -> bytes:
    """The record there, or nothing."""
    record = _cut(data, at)
    return record if record and zlib.crc32(record[_CRC_BYTES:]) == _crc(record) else b""


def _damaged(data: bytes, at: int) -> _Damaged | None:
    """What is had of the record there if it was damaged."""
    flipped = f"a bit of the record at {at} was flipped, and is flipped back"
    if (record := _of_other_length(data, at)) and _goes_on(data, at + len(record)):
        return _Damaged(_changes(record), len(record), flipped)
    there = _cut(data, at)
    if not there or not _goes_on(data, at + len(there)):
        return None
    if record := _flipped_back(there):
        return _Damaged(_changes(record), len(there), flipped)
    # What is no text any more is nobody's key.
    keys = [key.decode(errors="surrogateescape") for key, _ in _parts(there)]
    if not keys:
        return None
    named = ", ".join(map(repr, keys))
    text = f"the record at {at} was damaged: there is no value now of {named}"
    return _Damaged(dict.fromkeys(keys), len(there), text)


def _cut(data: bytes, at: int) -> bytes:
    """As many bytes as the record there says that it has, or none."""
    if len(data) - at < HEADER.size:
        return b""
    size = HEADER.unpack_from(data, at)[2]
    end = at + HEADER.size + size
    return data[at:end] if end <= len(data) and size <= MOST_RECORD_BYTES else b""


def _crc(record: bytes) -> int:
    return int.from_bytes(record[:_CRC_BYTES], "little")


def _of_other_length(data: bytes, at: int) -> bytes:
    """The record there, if a bit of its length was flipped."""
    if len(data) - at < HEADER.size:
        return b""
    crc, count, size = HEADER.unpack_from(data, at)
    for guess in neighbours(size, 32):
        end = at + HEADER.size + guess
        if end <= len(data) and guess <= MOST_RECORD_BYTES:
            record = HEADER.pack(crc, count, guess) + data[at + HEADER.size : end]
            if zlib.crc32(record[_CRC_BYTES:]) == crc:
                return record
    return b""


def _flipped_back(record: bytes) -> bytes:
    """The record before a bit of it was flipped, but for its length's; nothing if that is not what happened."""
    body = record[_CRC_BYTES:]
    crc = zlib.crc32(body)
    difference = crc ^ _crc(record)
    if difference.bit_count() == 1:  # it was the checksum's
        return struct.pack("<I", crc) + body
    mended = record[:_CRC_BYTES] + (with_bit_flipped_back(body, difference) or b"")
    return mended if _parts(mended) else b""


def _goes_on(data: bytes, at: int) -> bool:
    """Whether a whole record follows there, behind others at most whose lengths agree."""
    while not _whole(data, at):
        there = _cut(data, at)
        if not _parts(there):
            return False
        at += len(there)
    return True


def _parts(record: bytes) -> list[tuple[bytes, bytes | None]]:
    """The keys and values of a record, whole or not; none if its lengths do not agree."""
    if len(record) < HEADER.size:
        return []
    parts: list[tuple[bytes, bytes | None]] = []
    position = HEADER.size
    for _ in range(HEADER.unpack_from(record)[1]):
        if len(record) - position < CHANGE.size:
            return []
        key_bytes, value_bytes = CHANGE.unpack_from(record, position)
        value_at = position + CHANGE.size + key_bytes
        key, position = record[position + CHANGE.size : value_at], value_at
        if value_bytes == DELETED:
            parts.append((key, None))
        else:
            position += value_bytes
            parts.append((key, record[value_at:position]))
    return parts if position == len(record) else []


def _changes(record: bytes) -> Changes:
    return {key.decode(): value for key, value in _parts(record)}
