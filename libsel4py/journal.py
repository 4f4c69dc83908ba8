"""A journal in memory that outlives its process: records that are there as a whole or not at all.

    journal = Journal(space.attach())       # raises CorruptJournal
    for record in journal.records: ...      # what former lives had appended since the last checkpoint, oldest first
    journal.append(b"one change")           # durable when it returns
    journal.checkpoint(b"the whole state")  # in the place of all records

The memory has two areas, one of which is current: the one with the higher number. A checkpoint is written to the other
one. So whatever ends the process, at whatever store, leaves all records that were appended before, and of the one that
was being written nothing, or all of it. It is memory that outlives processes, not the host: nothing is flushed.

Layout, words of 64 bits. An area: valid (`MAGIC` above, the checksum of its number below), number, records. A record:
its bytes' length above and their checksum with the area's number and their place below; their length once more, and a
second checksum; its bytes, zeros up to a whole word. Behind the last record stands a zero. Writing: the zero behind,
the bytes, the record's second word, then its first; an area's valid word last of all. The order is that of the
program's stores: a process's death keeps it.

Rules. One process at a time has the memory, and one thread uses a journal. What a former life left is believed as far
as its checksums go; they find damage, not malice, so records are decoded as a stranger's bytes are. One flipped bit of
a word, or of a record, is flipped back when a journal is opened: in an area's head there is one number at most that is
a bit away, and of a record both checksums must agree. Whatever is damaged more is not guessed at: where one area's head
is, nobody knows whether the other one is older.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, Protocol

from libsel4py.abi import WORD_BYTES
from libsel4py.errors import ServiceError
from libsel4py.flipped_bits import is_neighbour, neighbours, with_bit_flipped_back

MAGIC: Final = 0x4A524E31
LEAST_BYTES: Final = 4096
_HEAD: Final = 2 * WORD_BYTES
_RECORD_HEAD: Final = 2 * WORD_BYTES
_LOW: Final = 0xFFFF_FFFF


class CorruptJournal(ValueError):
    """The memory holds something else than a journal, or one that was damaged; the text says where."""


class JournalFull(ServiceError):
    """There is no room for this record: make a checkpoint; if it was one, the state is too large for its memory."""


class Memory(Protocol):
    """What a journal needs of `libsel4py.mapping.Mapping`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, length: int, /) -> bytes: ...
    def write(self, offset: int, data: bytes, /) -> None: ...
    def load_word(self, offset: int, /) -> int: ...
    def store_word(self, offset: int, value: int, /) -> None: ...


class Journal:
    """See the module.

    Args:
        memory: at least 4096 bytes. All zeros is an empty journal.
    Attributes:
        records: those that were there at the start. most_bytes: the longest record that an empty journal takes.
        mended: how many bits were flipped back at the start.
    Raises:
        CorruptJournal: neither area is whole. ValueError: there is too little memory.
    """

    def __init__(self, memory: Memory) -> None:
        if memory.size < LEAST_BYTES:
            raise ValueError(f"a journal needs {LEAST_BYTES} bytes of memory, and this has {memory.size}")
        self._memory = memory
        self._area_bytes = memory.size // 2 & -WORD_BYTES
        self.most_bytes = self._area_bytes - _HEAD - _RECORD_HEAD - WORD_BYTES
        self.mended = 0
        self._number, self._area = self._find_current()
        self.records, self._end = self._read_records()

    @classmethod
    def fresh(cls, memory: Memory, record: bytes | None = None) -> Journal:
        """A journal of this record, or an empty one, whatever was there before.

        What tells of the damage goes last, behind the record, so that nothing older comes back and no life finds an
        empty journal in the place of the record: a head that is none, or else what has the higher number.
        """

        def rank(area: int) -> tuple[bool, int]:
            valid, number = memory.load_word(area), memory.load_word(area + WORD_BYTES)
            return valid not in (0, _valid(number)), number

        first, last = sorted((0, memory.size // 2 & -WORD_BYTES), key=rank)
        memory.store_word(first, 0)
        memory.store_word(first + WORD_BYTES, 0)
        if record is not None:
            _write_area(memory, first, 1, record)
        memory.store_word(last, 0)
        memory.store_word(last + WORD_BYTES, 0)
        return cls(memory)

    def append(self, record: bytes) -> None:
        """Add a record. Raises JournalFull: nothing was changed."""
        if not self.has_room(len(record)):
            raise JournalFull(f"a record of {len(record)} bytes does not fit what is left of the journal")
        if not self._number:
            self.checkpoint(record)
            return
        self._end = _put(self._memory, self._area, self._number, self._end, record)

    def checkpoint(self, record: bytes) -> None:
        """Let one record stand in the place of all. Raises JournalFull: nothing was changed."""
        if len(record) > self.most_bytes:
            raise JournalFull(f"a checkpoint of {len(record)} bytes; the journal's memory takes {self.most_bytes}")
        number, area = self._number + 1, self._area_bytes if self._area == 0 else 0
        end = _write_area(self._memory, area, number, record)
        self._number, self._area, self._end = number, area, end

    def has_room(self, length: int) -> bool:
        """Whether a record of so many bytes can be appended."""
        return self._end + _record_bytes(length) + WORD_BYTES <= self._area_bytes

    def _find_current(self) -> tuple[int, int]:
        """The current area's number and offset; number 0 if nothing was ever written."""
        found, strange = [], []
        for area in (0, self._area_bytes):
            self._mend_head(area)
            valid, number = self._memory.load_word(area), self._memory.load_word(area + WORD_BYTES)
            if valid and valid == _valid(number):
                found.append((number, area))
            elif valid:
                strange.append(f"offset {area} has {valid:#x}, where {_valid(number):#x} was due")
        # An area is marked invalid by a zero while it is written; any other word is not a journal's.
        if strange:
            raise CorruptJournal(f"this memory is no journal, or was damaged: {'; '.join(strange)}")
        return max(found, default=(0, self._area_bytes))

    def _mend_head(self, area: int) -> None:
        """Flip back what a bit of an area's two words was flipped from."""
        memory = self._memory
        valid, number = memory.load_word(area), memory.load_word(area + WORD_BYTES)
        if valid in (0, due := _valid(number)):
            return
        if is_neighbour(valid, 0):
            self._mend(area, 0)
        elif is_neighbour(valid, due):
            self._mend(area, due)
        else:
            for each in neighbours(number):
                if valid == _valid(each):
                    self._mend(area + WORD_BYTES, each)
                    return

    def _mend(self, offset: int, word: int) -> None:
        self._memory.store_word(offset, word)
        self.mended += 1

    def _read_records(self) -> tuple[list[bytes], int]:
        records: list[bytes] = []
        memory, at = self._memory, _HEAD
        if not self._number:
            return records, at
        while word := memory.load_word(self._area + at):
            record = self._record(at, word)
            if record is None and (record := self._mended_record(at, word)) is None:
                if is_neighbour(word, 0):  # the end
                    self._mend(self._area + at, 0)
                    break
                raise CorruptJournal(f"record {len(records)} of the journal, at {self._area + at}, was damaged")
            records.append(record)
            at += _record_bytes(len(record))
        return records, at

    def _bytes(self, at: int, length: int) -> bytes | None:
        """What a record of so many bytes has there; None if there is no room for it."""
        if at + _record_bytes(length) + WORD_BYTES > self._area_bytes:
            return None
        return self._memory.read(self._area + at + _RECORD_HEAD, length)

    def _record(self, at: int, word: int) -> bytes | None:
        """The record whose first word is this; None if it is damaged."""
        record = self._bytes(at, word >> 32)
        if record is None or _record_word(record, self._number, at) != word:
            return None
        if self._memory.load_word(self._area + at + WORD_BYTES) != (due := _second_word(record)):
            self._mend(self._area + at + WORD_BYTES, due)
        return record

    def _mended_record(self, at: int, word: int) -> bytes | None:
        """The record there with its one flipped bit flipped back; None if it is damaged more."""
        second = self._memory.load_word(self._area + at + WORD_BYTES)
        for record in self._candidates(at, word):
            if _second_word(record) == second:
                if (due := _record_word(record, self._number, at)) != word:
                    self._mend(self._area + at, due)
                else:
                    self._memory.write(self._area + at + _RECORD_HEAD, record)
                    self.mended += 1
                return record
        return None

    def _candidates(self, at: int, word: int) -> Iterator[bytes]:
        """Records that are a bit away from what is there, as the first checksum has it."""
        for each in neighbours(word):
            record = self._bytes(at, each >> 32)
            if record is not None and _record_word(record, self._number, at) == each:
                yield record
        if (there := self._bytes(at, word >> 32)) is not None:
            difference = (word ^ _record_word(there, self._number, at)) & _LOW
            if (record := with_bit_flipped_back(there, difference)) is not None:
                yield record


def _write_area(memory: Memory, area: int, number: int, record: bytes) -> int:
    """Make an area one that has this record alone; where the record ends. It is valid by its last store."""
    memory.store_word(area, 0)
    end = _put(memory, area, number, _HEAD, record)
    memory.store_word(area + WORD_BYTES, number)
    memory.store_word(area, _valid(number))
    return end


def _put(memory: Memory, area: int, number: int, at: int, record: bytes) -> int:
    end = at + _record_bytes(len(record))
    memory.store_word(area + end, 0)
    if record:
        memory.write(area + at + _RECORD_HEAD, record)
    memory.store_word(area + at + WORD_BYTES, _second_word(record))
    memory.store_word(area + at, _record_word(record, number, at))
    return end


def _valid(number: int) -> int:
    return MAGIC << 32 | zlib.crc32(number.to_bytes(WORD_BYTES, "little"))


def _record_bytes(length: int) -> int:
    return _RECORD_HEAD + (length + WORD_BYTES - 1 & -WORD_BYTES)


def _record_word(record: bytes, number: int, at: int) -> int:
    """Never 0: of no bytes, the checksum is that of number and place, with the lowest bit set."""
    start = zlib.crc32(number.to_bytes(WORD_BYTES, "little") + at.to_bytes(WORD_BYTES, "little"))
    return len(record) << 32 | zlib.crc32(record, start) & _LOW | (0 if record else 1)


def _second_word(record: bytes) -> int:
    return len(record) << 32 | zlib.adler32(record) & _LOW
