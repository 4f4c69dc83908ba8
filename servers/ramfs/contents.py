"""The bytes of a file in memory: pieces of up to 64 KiB, of which those that were never written do not exist.

What is written in whole pieces is kept as it came, without a copy; a piece that is written in part becomes one that can
be changed. `Budget` counts the pieces of all files, each with what it takes beside its bytes: a piece may have one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from libsel4py.interfaces.file import NoSpace

if TYPE_CHECKING:
    from typing_extensions import Buffer

CHUNK_BYTES: Final = 1 << 16
PIECE_BYTES: Final = 256  # about what a piece takes beside its bytes
_ZEROES: Final = bytes(CHUNK_BYTES)


class Budget:
    """How much memory all files together may have, in bytes. ``used`` is what they have."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0

    def take(self, count: int) -> None:
        """Raises NoSpace; then nothing is taken."""
        if self.used + count > self.total:
            raise NoSpace(f"{count} bytes more than the file system's {self.total} have room for")
        self.used += count

    def give_back(self, count: int) -> None:
        self.used -= count


class Contents:
    """A file's bytes. ``size`` in bytes. A short last piece is as long as its bytes."""

    __slots__ = ("_budget", "_chunks", "size")

    def __init__(self, budget: Budget) -> None:
        self.size = 0
        self._budget = budget
        self._chunks: dict[int, bytes | bytearray] = {}

    def read(self, offset: int, length: int) -> Buffer:
        """What is there, without a copy if it is in one piece."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        index, start = divmod(offset, CHUNK_BYTES)
        if start + length <= CHUNK_BYTES:
            return self._part(index, start, length)
        parts = []
        while length:
            count = min(length, CHUNK_BYTES - start)
            parts.append(self._part(index, start, count))
            index, start, length = index + 1, 0, length - count
        return b"".join(parts)

    def _part(self, index: int, start: int, length: int) -> Buffer:
        chunk = self._chunks.get(index, b"")
        if start + length <= len(chunk):
            return chunk if length == len(chunk) else memoryview(chunk)[start : start + length]
        return bytes(chunk[start : start + length]).ljust(length, b"\0")

    def write(self, offset: int, data: bytes) -> None:
        """All of it. Raises NoSpace; then the file is as it was."""
        end = offset + len(data)
        self._budget.take(self._growth(offset, end))
        index, start = divmod(offset, CHUNK_BYTES)
        done = 0
        while done < len(data):
            count = min(len(data) - done, CHUNK_BYTES - start)
            if count == CHUNK_BYTES:
                self._chunks[index] = data if count == len(data) else data[done : done + count]
            else:
                chunk = self._changeable(index, start + count)
                chunk[start : start + count] = data if count == len(data) else data[done : done + count]
            index, start, done = index + 1, 0, done + count
        self.size = max(self.size, end)

    def _growth(self, offset: int, end: int) -> int:
        """Bytes that the pieces need more when they reach from ``offset`` to ``end``."""
        first, last = offset // CHUNK_BYTES, (end - 1) // CHUNK_BYTES
        growth = 0
        for index in range(first, last + 1):
            needed, chunk = min(end - index * CHUNK_BYTES, CHUNK_BYTES), self._chunks.get(index)
            growth += needed + PIECE_BYTES if chunk is None else max(0, needed - len(chunk))
        return growth

    def _changeable(self, index: int, length: int) -> bytearray:
        """A piece of at least this length."""
        chunk = self._chunks.get(index)
        if not isinstance(chunk, bytearray):
            chunk = self._chunks[index] = bytearray(chunk or b"")
        if len(chunk) < length:
            try:
                chunk.extend(_ZEROES[: length - len(chunk)])
            except BufferError:  # somebody still looks at it
                chunk = self._chunks[index] = chunk + _ZEROES[: length - len(chunk)]
        return chunk

    def truncate(self, size: int) -> None:
        """Cut, or lengthen by zeroes, which take no memory."""
        if size < self.size:
            last, kept = divmod(size, CHUNK_BYTES)
            for index in [index for index in self._chunks if index > last or (index == last and not kept)]:
                self._budget.give_back(len(self._chunks.pop(index)) + PIECE_BYTES)
            chunk = self._chunks.get(last)
            if chunk is not None and len(chunk) > kept:
                self._budget.give_back(len(chunk) - kept)
                self._chunks[last] = bytearray(chunk[:kept])
        self.size = size

    def clear(self) -> None:
        """Give all memory back."""
        self.truncate(0)
