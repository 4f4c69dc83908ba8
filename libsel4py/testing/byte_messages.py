"""Messages of bytes, and calls of numbers and bytes, for machines that are made of Python.

Word 0 counts the bytes, which begin at word 1 and fill whole words (`libsel4py.wire`). `hw/_cpu/message.c` and
`forms.c` do the same in one step; a test holds the two against each other.
"""

from __future__ import annotations

import struct
from typing import Any, Final, Protocol

from libsel4py.abi import (
    MESSAGE_MAX_LENGTH,
    MESSAGE_REGISTERS,
    VALUE_KIND_BITS,
    WORD_BYTES,
    WORD_MASK,
    Served,
    Status,
    ValueKind,
)
from libsel4py.lowlevel.machine import Answer, Completion, Request, Words

_HEAD: Final = struct.Struct(f"<{MESSAGE_REGISTERS - 1}Q")
MAX_BYTES: Final = (MESSAGE_MAX_LENGTH - 1) * WORD_BYTES


class _Area(Protocol):
    def message_write(self, first: int, words: bytes, /) -> None: ...
    def message_read(self, first: int, count: int, /) -> bytes: ...
    def message_put(self, label: int, data: bytes, /) -> Words: ...
    def message_get(self, info: int, mr0: int, mr1: int, mr2: int, mr3: int, /) -> bytes | None: ...
    def call(
        self, cptr: int, info: int, mr0: int, mr1: int, mr2: int, mr3: int, timeout_ns: int = ..., /
    ) -> Completion: ...
    def reply_recv(
        self, cptr: int, info: int, mr0: int, mr1: int, mr2: int, mr3: int, reply: int, timeout_ns: int = ..., /
    ) -> Completion: ...
    def recv(self, cptr: int, reply: int, timeout_ns: int = ..., /) -> Completion: ...
    def answer_recv(self, cptr: int, answer: Answer, reply: int, /) -> Request: ...


_SIGN: Final = 1 << 63
_ANY_CAPS: Final = 0xF80
_RANGES: Final = {ValueKind.SIGNED: (-_SIGN, _SIGN - 1), ValueKind.WORD: (0, WORD_MASK)}


def _fits(number: object, kind: ValueKind) -> bool:
    low, high = _RANGES[kind]
    return isinstance(number, int) and low <= number <= high


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

    def call_numbers(
        self: _Area, cptr: int, info: int, shape: int, timeout_ns: int, /, *numbers: int
    ) -> int | bytes | Completion | None:
        kinds = [ValueKind(shape >> VALUE_KIND_BITS * n & 7) for n in range(1 + len(numbers))]
        if not all(map(_fits, numbers, kinds[1:])):
            return None
        words = [number & WORD_MASK for number in numbers] + [0] * (MESSAGE_REGISTERS - len(numbers))
        return _value(self, self.call(cptr, info, words[0], words[1], words[2], words[3], timeout_ns), kinds[0])

    def call_bytes(
        self: _Area, cptr: int, info: int, result: int, timeout_ns: int, data: bytes, /
    ) -> int | bytes | Completion | None:
        if len(data) > MAX_BYTES:
            return None
        length, *words = self.message_put(0, data)
        completion = self.call(cptr, info | length, words[0], words[1], words[2], words[3], timeout_ns)
        return _value(self, completion, ValueKind(result))

    def answer_recv(self: _Area, cptr: int, answer: Answer, reply: int, /) -> Request:
        if isinstance(answer, int):
            if not _fits(answer, ValueKind.SIGNED):
                raise OverflowError(f"{answer} is no signed word")
            answer = (1, answer & WORD_MASK, 0, 0, 0)
        elif isinstance(answer, bytes):
            answer = self.message_put(0, answer)
        completion = self.reply_recv(cptr, *answer, reply)
        status, badge, info, *words = completion
        length = info & 127
        fills = length == (words[0] + 2 * WORD_BYTES - 1) // WORD_BYTES
        if status != Status.DONE or length <= MESSAGE_REGISTERS or info & _ANY_CAPS or not fills:
            return completion
        data = self.message_get(info, words[0], words[1], words[2], words[3])
        return completion if data is None else (status, badge, info, data, 0, 0, 0)

    def serve(
        self: _Area, cptr: int, answer: Answer | None, reply: int, loop: object, server: object, receive: object, /
    ) -> tuple[int, Any, int]:
        """Knows nobody: every request is for the server's own loop."""
        request = self.recv(cptr, reply) if answer is None else self.answer_recv(cptr, answer, reply)
        return Served.REQUEST, request, 0


def _value(machine: _Area, completion: Completion, kind: ValueKind) -> int | bytes | Completion:
    status, _, info, *words = completion
    match kind:
        case _ if status != Status.DONE:
            pass
        case ValueKind.NOTHING if info == 0:
            return 0
        case ValueKind.SIGNED if info == 1:
            return words[0] - 2 * _SIGN if words[0] >= _SIGN else words[0]
        case ValueKind.WORD if info == 1:
            return words[0]
        case ValueKind.TRUTH if info == 1:
            return words[0] != 0
        case ValueKind.BYTES if info <= 127:
            data = machine.message_get(info, words[0], words[1], words[2], words[3])
            return completion if data is None else data
    return completion
