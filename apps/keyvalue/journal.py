"""The store's file: a journal of changes, each whole or absent after any loss of power.

    record      0   crc: u32, of all that follows in the record
                4   count: u32, changes
                8   bytes: u32, of the changes
               12   changes: key length u32, value length u32 (`DELETED`: none), key, value

A commit is one record, appended and synced before it is answered. Reading ends at the first record that is not whole:
it was being written when the power went, was never answered, and is cut off. When the journal holds more that is out of
date than not, the values that count are written to a new file, which takes its place at once (rename).

Rules. What could not be cut off when a commit failed is cut off before the next one: a record that was refused must not
be read by a later life, nor what is left of it behind a shorter one. Where replacing the file fails nobody knows which
of the two has the name: so it is opened again by that, before anything more is written. A new file that takes no place
is removed, or a disk that it has filled would stay full.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import BinaryIO, Final, Protocol

HEADER: Final = struct.Struct("<III")
CHANGE: Final = struct.Struct("<II")
DELETED: Final = (1 << 32) - 1
MOST_RECORD_BYTES: Final = 1 << 24
COMPACT_RECORD_BYTES: Final = 1 << 20
LEAST_COMPACTED: Final = 64 << 10  # bytes: a smaller journal is left as it is


class Disk(Protocol):
    """What the journal asks of its file system."""

    def open(self, name: str, mode: str) -> BinaryIO: ...
    def exists(self, name: str) -> bool: ...
    def remove(self, name: str) -> None: ...
    def sync(self, file: BinaryIO) -> None:
        """All that was written to an open file is on the medium when this returns."""

    def replace(self, old: str, new: str) -> None:
        """Give a file another's name, in the other's place, as one durable step.

        Raises OSError: it may have been done.
        """


class Journal:
    """Names and values in a file. One thread at a time.

    Args:
        disk: where it lies. name: of the file; ``name`` + ".new" is the journal's as well.
    Raises:
        OSError: the file system's.
    """

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self._name = name
        self._values: dict[str, bytes] = {}
        self._live_bytes = 0
        self._has_rest = False  # behind the end: what a commit that failed has written
        self._end = 0
        self._file: BinaryIO | None = None
        self._remove_new()
        self._opened()

    @property
    def values(self) -> Mapping[str, bytes]:
        """What counts now, by name."""
        return self._values

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Make changes (None: delete), all or none. On return they are durable. Raises OSError: then none was made."""
        record = _record(changes)
        file = self._opened()
        if self._has_rest:
            self._cut(file)
        try:
            file.seek(self._end)
            file.write(record)
            self._disk.sync(file)
        except BaseException:
            self._has_rest = True
            with suppress(OSError):  # the next commit does it
                self._cut(file)
            raise
        self._end += len(record)
        self._apply(changes)

    @property
    def is_due(self) -> bool:
        """Whether more of the file is out of date than counts, so that `compact` pays."""
        return self._end > max(LEAST_COMPACTED, 2 * self._live_bytes)

    def compact(self) -> None:
        """Write what counts to a new file, and put it in the journal's place.

        Raises OSError: what counts is what did.
        """
        self._opened()
        new = self._name + ".new"
        try:
            with self._disk.open(new, "w+b") as file:
                for record in self._records():
                    file.write(record)
                self._disk.sync(file)
            self._disk.replace(new, self._name)
        except BaseException:
            with suppress(OSError):
                self._remove_new()
            raise
        finally:
            self.close()
        self._opened()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _remove_new(self) -> None:
        """What a compaction that was not finished has left."""
        if self._disk.exists(self._name + ".new"):
            self._disk.remove(self._name + ".new")

    def _opened(self) -> BinaryIO:
        """The file that has the journal's name; read, if it has just been opened."""
        if self._file is None:
            file = self._disk.open(self._name, "r+b" if self._disk.exists(self._name) else "w+b")
            try:
                self._end = self._replay(file)
            except BaseException:
                file.close()
                raise
            self._file = file
        return self._file

    def _cut(self, file: BinaryIO) -> None:
        """Have nothing behind the end."""
        file.truncate(self._end)
        self._disk.sync(file)
        self._has_rest = False

    def _replay(self, file: BinaryIO) -> int:
        """Read what is there; returns where the whole records end, and cuts off what follows."""
        file.seek(0)
        data, at = file.read(), 0
        self._values, self._live_bytes = {}, 0
        while (changes := _changes(data, at)) is not None:
            self._apply(changes)
            at += HEADER.size + HEADER.unpack_from(data, at)[2]
        if at < len(data):
            file.truncate(at)
            self._disk.sync(file)
        return at

    def _apply(self, changes: Mapping[str, bytes | None]) -> None:
        for key, value in changes.items():
            former = self._values.pop(key, None)
            if former is not None:
                self._live_bytes -= _size(key, former)
            if value is not None:
                self._values[key] = value
                self._live_bytes += _size(key, value)

    def _records(self) -> Iterator[bytes]:
        """All that counts, in as many records as it needs."""
        part: dict[str, bytes | None] = {}
        size = 0
        for key, value in self._values.items():
            if size + _size(key, value) > COMPACT_RECORD_BYTES and part:
                yield _record(part)
                part, size = {}, 0
            part[key] = value
            size += _size(key, value)
        if part:
            yield _record(part)


def _record(changes: Mapping[str, bytes | None]) -> bytes:
    parts = []
    for key, value in changes.items():
        name = key.encode()
        parts.append(CHANGE.pack(len(name), DELETED if value is None else len(value)) + name + (value or b""))
    body = b"".join(parts)
    if len(body) > MOST_RECORD_BYTES:
        raise OSError(f"{len(body)} bytes in one commit; {MOST_RECORD_BYTES} are the most")
    tail = HEADER.pack(0, len(changes), len(body))[4:] + body
    return struct.pack("<I", zlib.crc32(tail)) + tail


def _changes(data: bytes, at: int) -> dict[str, bytes | None] | None:
    """The changes of the record there; None if there is no whole one."""
    if len(data) - at < HEADER.size:
        return None
    crc, count, size = HEADER.unpack_from(data, at)
    end = at + HEADER.size + size
    if end > len(data) or size > MOST_RECORD_BYTES or zlib.crc32(memoryview(data)[at + 4 : end]) != crc:
        return None
    changes: dict[str, bytes | None] = {}
    position = at + HEADER.size
    for _ in range(count):
        key_bytes, value_bytes = CHANGE.unpack_from(data, position)
        position += CHANGE.size
        key = data[position : position + key_bytes].decode()
        position += key_bytes
        changes[key] = None if value_bytes == DELETED else data[position : position + value_bytes]
        position += 0 if value_bytes == DELETED else value_bytes
    return changes


def _size(key: str, value: bytes) -> int:
    return CHANGE.size + len(key.encode()) + len(value)
