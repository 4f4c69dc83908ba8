"""The store's file: a journal of changes (`records.py`), each whole or absent after any loss of power.

A commit is one record, appended and synced before it is answered. Reading ends at the last whole record: what
follows was being written when the power went, was never answered, and is cut off. When the journal holds more that is
out of date than not, or was damaged, the values that count are written to a new file, which takes its place at once
(rename).

Rules. What could not be cut off when a commit failed is cut off before the next one: a record that was refused must not
be read by a later life, nor what is left of it behind a shorter one. Where replacing the file fails nobody knows which
of the two has the name: so it is opened again by that, before anything more is written. A new file that takes no place
is removed, or a disk that it has filled would stay full.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import BinaryIO, Final, Protocol

from apps.keyvalue import records

COMPACT_RECORD_BYTES: Final = 64 << 10  # not more, so that a flipped bit is found
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
    Attributes:
        damage: what was damaged when the file was read last, a sentence each.
    Raises:
        OSError: the file system's.
    """

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self._name = name
        self._values: dict[str, bytes] = {}
        self._live_bytes = 0
        self.damage: list[str] = []
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
        record = records.pack(changes)
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
        """Whether more of the file is out of date than counts, so that `compact` pays, or it was damaged."""
        return bool(self.damage) or self._end > max(LEAST_COMPACTED, 2 * self._live_bytes)

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
        data = file.read()
        found = records.read(data)
        self._values, self._live_bytes, self.damage = {}, 0, found.damage
        for changes in found.changes:
            self._apply(changes)
        if found.end < len(data):
            file.truncate(found.end)
            self._disk.sync(file)
        return found.end

    def _apply(self, changes: Mapping[str, bytes | None]) -> None:
        for key, value in changes.items():
            former = self._values.pop(key, None)
            if former is not None:
                self._live_bytes -= records.size_of(key, former)
            if value is not None:
                self._values[key] = value
                self._live_bytes += records.size_of(key, value)

    def _records(self) -> Iterator[bytes]:
        """All that counts, in as many records as it needs."""
        part: dict[str, bytes | None] = {}
        size = 0
        for key, value in self._values.items():
            if size + records.size_of(key, value) > COMPACT_RECORD_BYTES and part:
                yield records.pack(part)
                part, size = {}, 0
            part[key] = value
            size += records.size_of(key, value)
        if part:
            yield records.pack(part)
