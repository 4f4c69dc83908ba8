"""What was written to an open file and not synced yet: kept, since a server that dies has not got it any more.

Rules. A server's next life has a file as it was synced last (`interfaces.file.Origin`), so what came after is written
once more, in the same order: as an NFS client sends again what the server had not committed (RFC 1813, sections 3.3.7
and 3.3.21). Up to `KEPT_BYTES` are kept, and less where servers live for less than a second (`most_kept`); whoever
writes more has the file synced then. What was appended is appended again only where none of it can be there.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

from libsel4py.files.errors import to_the_end
from libsel4py.interfaces.file import Directory, FileError, OpenFlags

KEPT_BYTES: Final = 4 << 20
LEAST_KEPT_BYTES: Final = 256 << 10
MOST_RECORDS: Final = 8192


class Record(NamedTuple):
    """Bytes that were written at an offset; None: the file was given this size."""

    offset: int
    data: bytes | None


def most_kept(life: float) -> int:
    """How many bytes are to be kept at a server that lives for so many seconds, as far as is known.

    What is lost with each server is half of it, and syncing has its price as well: the time between two syncs that
    makes the sum of both least goes with the root of the life (J. W. Young, 1974).
    """
    return max(min(LEAST_KEPT_BYTES, KEPT_BYTES), int(KEPT_BYTES * min(1.0, life) ** 0.5))


class Kept:
    """The changes of one open file since it was synced last. ``keeps`` False: of a volume that ends with its server."""

    __slots__ = ("_bytes", "_tries", "keeps", "records")

    def __init__(self, keeps: bool) -> None:
        self.keeps = keeps
        self.records: list[Record] = []
        self._bytes = 0
        self._tries = 0  # to carry them out once more

    def __bool__(self) -> bool:
        return bool(self.records)

    def is_full(self, most: int) -> bool:
        """Whether it is time to sync, where so many bytes are kept at most."""
        return self._bytes > most or len(self.records) > MOST_RECORDS

    def wrote(self, offset: int, data: bytes) -> None:
        self.records.append(Record(offset, data))
        self._bytes += len(data)

    def truncated(self, size: int) -> None:
        if not size:
            self.clear()
        self.records.append(Record(size, None))

    def clear(self) -> None:
        """All of it is on the medium, or is given up."""
        self.records.clear()
        self._bytes = self._tries = 0

    # --- once more

    def write_again(self, directory: Directory, file: int, buffer: memoryview) -> None:
        """Carry out all changes of a file that was opened again.

        Where one server after the other dies with that, fewer are carried out before they are synced, and are kept no
        more then: however soon the next one dies, less is left for its successor.
        """
        batch = max(1, len(self.records) >> self._tries)
        self._tries += 1
        if self._tries == 1:
            for record in self.records:
                _carry_out(record, directory, file, buffer)
            return
        while done := self.records[:batch]:
            for record in done:
                _carry_out(record, directory, file, buffer)
            directory.sync_number(file)
            del self.records[:batch]
            self._bytes -= sum(len(data or b"") for _, data in done)
        self._tries = 0

    def append_again(self, directory: Directory, file: int, buffer: memoryview, size: int, path: str | None) -> bool:
        """Append all again to a file that has ``size`` bytes now. Those that cannot be appended are kept no more.

        Nothing of it is there where the file ends before it; else a sync has put it there, or another has written.

        Args:
            path: of the file, where a sync may have put them there: then it is looked whether it has.
        Returns:
            Whether they are there now.
        """
        first, last = self.records[0], self.records[-1]
        records, self.records = self.records, []
        if size > first.offset:
            self._bytes = 0
            end = last.offset + len(last.data or b"")
            return path is not None and size >= end and _has(directory, path, buffer, records)
        for number, (_, data) in enumerate(records):
            assert data is not None  # a file that is appended to is synced when it is cut
            buffer[: len(data)] = data
            try:
                offset = directory.append_number(file, len(data), 0)
            except BaseException:
                self.records += records[number:]
                raise
            self.records.append(Record(offset, data))
        return True


def _carry_out(record: Record, directory: Directory, file: int, buffer: memoryview) -> None:
    offset, data = record
    if data is None:
        to_the_end(partial(directory.truncate_number, file, offset))
        return
    for at in range(0, len(data), len(buffer)):
        piece = data[at : at + len(buffer)]
        buffer[: len(piece)] = piece
        to_the_end(partial(directory.write_number, file, offset + at, len(piece), 0))


def _has(directory: Directory, path: str, buffer: memoryview, records: list[Record]) -> bool:
    """Whether these bytes are where they were written."""
    try:
        number, _, _ = directory.open_number(path, int(OpenFlags.READ))
    except FileError:
        return False
    for offset, data in records:
        count = directory.read_number(number, offset, len(data or b""), 0)
        if bytes(buffer[:count]) != data:
            break
    else:
        directory.close_number(number)
        return True
    directory.close_number(number)
    return False
