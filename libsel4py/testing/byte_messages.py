"""Messages of bytes for machines that are made of Python: `Cpu.message_put` and `message_get` by words.

Word 0 counts the bytes, which begin at word 1 and fill whole words (`libsel4py.wire`). `hw/_cpu/message.c` does the
same in one step; a test holds the two against each other.
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

from libsel4py.abi import MESSAGE_MAX_LENGTH, MESSAGE_REGISTERS, WORD_BYTES

_HEAD: Final = struct.Struct(f"<{MESSAGE_REGISTERS - 1}Q")
MAX_BYTES: Final = (MESSAGE_MAX_LENGTH - 1) * WORD_BYTES


class _Area(Protocol):
    def message_write(self, first: int, words: bytes, /) -> None: ...
    def message_read(self, first: int, count: int, /) -> bytes: ...


class ByteMessages:
    """For a class that has a message area."""

    def message_put(self: _Area, label: int, data: bytes, /) -> tuple[int, int, int, int, int]:
        if len(data) > MAX_BYTES:
            raise ValueError(f"{len(data)} bytes do not fit a message, which holds {MAX_BYTES}")
        padded = data.ljust(_HEAD.size, b"\0")
        word1, word2, word3 = _HEAD.unpack_from(padded)
        self.message_write(MESSAGE_REGISTERS, padded[_HEAD.size :] + bytes(-len(padded) % WORD_BYTES))
        return label << 12 | (len(data) + 2 * WORD_BYTES - 1) // WORD_BYTES, len(data), word1, word2, word3

    def message_get(self: _Area, info: int, mr0: int, mr1: int, mr2: int, mr3: int, /) -> bytes | None:
        length = info & 127
        if length == 0 or length > MESSAGE_MAX_LENGTH or mr0 > (length - 1) * WORD_BYTES:
            return None
        data = _HEAD.pack(mr1, mr2, mr3)
        if length > MESSAGE_REGISTERS:
            data += self.message_read(MESSAGE_REGISTERS, length - MESSAGE_REGISTERS)
        return data[:mr0]
