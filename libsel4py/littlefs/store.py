"""What a file system lies on: bytes by offset, written in any order until a flush."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class StoreFailed(Exception):
    """The medium failed; the text says how."""


class BlockStore(Protocol):
    """A medium. Offsets and sizes are multiples of 512 bytes.

    Attributes:
        size: in bytes. read_only: `write` is refused.
    """

    @property
    def size(self) -> int: ...
    @property
    def read_only(self) -> bool: ...

    def read(self, offset: int, size: int, /) -> bytes:
        """Raises StoreFailed."""

    def write(self, pieces: Sequence[tuple[int, bytes | bytearray | memoryview]], /) -> None:
        """Write several pieces, (offset, bytes) each, in any order. Raises StoreFailed: any part may be written."""

    def flush(self) -> None:
        """All that was written before is on the medium when this returns. Raises StoreFailed."""

    def commit(self, epochs: Sequence[Sequence[tuple[int, bytes | bytearray | memoryview]]], /) -> None:
        """Write each epoch's pieces and flush, before the next epoch's are written. Raises StoreFailed."""
        for pieces in epochs:
            self.write(pieces)
            self.flush()


class MemoryStore(BlockStore):
    """A medium in memory. ``log`` has what came to it, pieces and None for each flush, if it is a list."""

    def __init__(self, size: int = 0, data: bytearray | None = None, read_only: bool = False) -> None:
        self.data = bytearray(size) if data is None else data
        self._read_only = read_only
        self.log: list[tuple[int, bytes] | None] | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def read_only(self) -> bool:
        return self._read_only

    def read(self, offset: int, size: int, /) -> bytes:
        return bytes(self.data[offset : offset + size])

    def write(self, pieces: Sequence[tuple[int, bytes | bytearray | memoryview]], /) -> None:
        for offset, data in pieces:
            self.data[offset : offset + len(data)] = data
            if self.log is not None:
                self.log.append((offset, bytes(data)))

    def flush(self) -> None:
        if self.log is not None:
            self.log.append(None)
