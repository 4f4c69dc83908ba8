"""A queue of bytes in a device's record: a ring of 64, with its head and count beside it. Stores are logged."""

from __future__ import annotations

from typing import Final

from hw.ram import Record, Word

FIFO_BYTES: Final = 64


class Fifo(Record):
    """The queue at `address`: head, count, then its bytes."""

    __slots__ = ()
    SIZE: Final = 16 + FIFO_BYTES

    head = Word(0)
    count = Word(8)

    def push(self, byte: int) -> None:
        """Put a byte at the end. The caller has looked whether there is room."""
        self._store((self.head + self.count) % FIFO_BYTES, byte)
        self.count = self.count + 1

    def pop(self) -> int:
        """Take the first byte. The caller has looked whether there is one."""
        head = self.head
        byte = self._load(head)
        self.head = (head + 1) % FIFO_BYTES
        self.count = self.count - 1
        return byte

    def peek(self) -> bytes:
        """All bytes, first to last, left where they are."""
        head = self.head
        return bytes(self._load((head + at) % FIFO_BYTES) for at in range(self.count))

    def drop(self, count: int) -> None:
        """Forget the first `count` bytes."""
        count = min(count, self.count)
        self.head = (self.head + count) % FIFO_BYTES
        self.count = self.count - count

    def _load(self, at: int) -> int:
        return self.ram.word(self.address + 16 + at // 8 * 8) >> at % 8 * 8 & 0xFF

    def _store(self, at: int, byte: int) -> None:
        address = self.address + 16 + at // 8 * 8
        shift = at % 8 * 8
        self.ram.set_word(address, self.ram.word(address) & ~(0xFF << shift) | (byte & 0xFF) << shift)
