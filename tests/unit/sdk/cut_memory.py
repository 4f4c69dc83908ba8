"""Memory that outlives whoever writes to it, and a writer who may be ended at any of its stores."""

from __future__ import annotations


class Cut(BaseException):
    """The writer was ended here."""


class CutMemory:
    """As `libsel4py.mapping.Mapping`. A write is done word by word, and each word is a store.

    Attributes:
        left: how many stores the writer still gets to do; None for all. stores: how many were done.
    """

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(size)
        self.size = size
        self.left: int | None = None
        self.stores = 0

    def _store(self, offset: int, data: bytes) -> None:
        assert 0 <= offset <= self.size - len(data), f"a store of {len(data)} bytes at {offset}"
        if self.left is not None:
            if not self.left:
                raise Cut
            self.left -= 1
        self.stores += 1
        self.bytes[offset : offset + len(data)] = data

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= self.size - length, f"{length} bytes at {offset}"
        return bytes(self.bytes[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        for first in range(0, len(data), 8):
            self._store(offset + first, data[first : first + 8])

    def load_word(self, offset: int) -> int:
        assert offset % 8 == 0
        return int.from_bytes(self.read(offset, 8), "little")

    def store_word(self, offset: int, value: int) -> None:
        assert offset % 8 == 0
        self._store(offset, value.to_bytes(8, "little"))
